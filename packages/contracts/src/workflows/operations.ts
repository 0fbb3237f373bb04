import { z } from "zod"
import { rollbackOutcome, taskOutcome } from "../fleet/agent-protocol.ts"
import { nodeReference } from "../fleet/operations.ts"
import { defineOperation } from "../operation.ts"
import { instant, limits, pageInput, pageOf, resourceName } from "../schemas.ts"
import { execution, executionInput, executionStates, parameterValue, task, taskStates } from "./execution.ts"
import {
  executionsCreate,
  executionsPlan,
  executionsResize,
  executionsRetry,
  executionsRollback,
} from "./execution-starts.ts"
import { executionsEvidence } from "./execution-evidence.ts"
import { executionsWatchRoute, tasksGetRoute, tasksListRoute, tasksOutputRoute } from "./routes.ts"

export { executionsCreate, executionsPlan, executionsResize, executionsRetry, executionsRollback }
export * from "./execution.ts"

export const workflow = z.object({
  name: resourceName,
  version: z.int().describe("Grows by one with each change of the document"),
  description: z.string().optional(),
  document: z.string().describe("The YAML text as applied"),
  digest: z.string().describe("SHA-256 of the document's canonical form"),
  parameters: z.array(
    z.object({
      name: z.string(),
      type: z.enum(["string", "integer", "number", "boolean"]),
      required: z.boolean(),
      default: parameterValue.optional(),
      description: z.string().optional(),
    }),
  ),
  steps: z.array(z.string()),
  createdAt: instant,
  createdBy: z.string(),
})

const workflowSummary = workflow.omit({ document: true, parameters: true, steps: true })

export const workflowsApply = defineOperation({
  name: "workflows.apply",
  service: "workflows",
  summary: "Create a workflow, or a new version of it",
  description: "The same document again makes no new version.",
  method: "PUT",
  path: "/v1/workflows/{name}",
  effect: "change",
  permission: "workflows.write",
  input: z.strictObject({
    name: resourceName,
    document: z
      .string()
      .min(1)
      .max(limits.documentBytesMax)
      .describe("YAML; its schema is at /v1/schemas/workflow.json"),
    expectedVersion: z.int().min(0).optional().describe("Refuse unless this is the newest version; 0: unless new"),
  }),
  output: workflow.extend({ changed: z.boolean() }),
  errors: [
    "workflows.invalid-document",
    "workflows.invalid-template",
    "workflows.document-too-large",
    "workflows.version-conflict",
    "workflows.too-many",
    "executions.invalid-strategy",
  ],
})

export const workflowsValidate = defineOperation({
  name: "workflows.validate",
  nodeScope: "none",
  service: "workflows",
  summary: "Check a workflow document without storing it",
  method: "POST",
  path: "/v1/workflows:validate",
  effect: "read",
  permission: "workflows.read",
  input: z.strictObject({ document: z.string().min(1).max(limits.documentBytesMax) }),
  output: z.object({
    valid: z.boolean(),
    name: z.string().optional(),
    digest: z.string().optional(),
    issues: z.array(z.object({ path: z.string(), message: z.string(), line: z.int(), column: z.int() })),
  }),
  errors: ["workflows.document-too-large"],
})

export const workflowsList = defineOperation({
  name: "workflows.list",
  nodeScope: "none",
  service: "workflows",
  summary: "List workflows at their newest version",
  method: "GET",
  path: "/v1/workflows",
  effect: "read",
  permission: "workflows.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(workflowSummary),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "version", "description", "createdBy", "createdAt"] },
})

export const workflowsGet = defineOperation({
  name: "workflows.get",
  nodeScope: "none",
  service: "workflows",
  summary: "Show a workflow: the newest version or a given one",
  method: "GET",
  path: "/v1/workflows/{name}",
  effect: "read",
  permission: "workflows.read",
  input: z.strictObject({ name: resourceName, version: z.coerce.number().int().min(1).optional() }),
  output: workflow,
  errors: ["workflows.not-found", "workflows.version-not-found"],
})

export const executionsList = defineOperation({
  name: "executions.list",
  nodeScope: "honoured",
  service: "workflows",
  summary: "List executions, the newest first",
  method: "GET",
  path: "/v1/executions",
  effect: "read",
  permission: "executions.read",
  input: z.strictObject({
    ...pageInput,
    state: z.enum(executionStates).optional(),
    workflow: resourceName.optional(),
    node: nodeReference.optional().describe("Only those with this node among their targets"),
    window: resourceName.optional().describe("Only those that have not ended and start targets in this window"),
  }),
  output: pageOf(execution),
  errors: ["request.invalid-cursor"],
  table: {
    rows: "items",
    columns: [
      "id",
      "workflow.name",
      "kind",
      "state",
      "targets.count",
      "counts.succeeded",
      "counts.failed",
      "createdAt",
    ],
  },
})

export const executionsGet = defineOperation({
  name: "executions.get",
  nodeScope: "honoured",
  service: "workflows",
  summary: "Show an execution: state, counts, why it stopped",
  method: "GET",
  path: "/v1/executions/{execution}",
  effect: "read",
  permission: "executions.read",
  input: z.strictObject(executionInput),
  output: execution,
  errors: ["executions.not-found"],
})

const kept = z
  .object({ digest: z.string(), bytes: z.int() })
  .optional()
  .describe("Outputs are shortened here; tasks.output has all of them")

export const taskDetails = task.extend({
  outcome: taskOutcome.extend({ kept }).optional(),
  rollbackOutcome: rollbackOutcome.extend({ kept }).optional(),
})

/** One message of `executions.watch`: the whole execution, then what changed. */
const count = z.int().min(0)
export const executionUpdate = z.object({
  execution,
  tasks: z.array(
    taskDetails
      .extend({ step: z.string().optional(), progress: z.number().optional() })
      .describe("Tasks that changed since the message before"),
  ),
  output: z.array(z.object({ ordinal: count, step: count, stream: z.enum(["stdout", "stderr"]), text: z.string() })),
})

export const executionsWatch = defineOperation({
  ...executionsWatchRoute,
  nodeScope: "honoured",
  service: "workflows",
  summary: "Follow an execution live until it ends",
  permission: "executions.read",
  input: z.strictObject({
    ...executionInput,
    output: z.enum(["true", "false"]).default("false").describe("With a sample of what running tasks write"),
    outcomes: z.enum(["true", "false"]).default("false").describe("With the results of tasks that have ended"),
  }),
  output: executionUpdate,
  errors: ["executions.not-found"],
})

const control = { ...executionInput, reason: z.string().max(limits.noteLengthMax).optional() }

export const executionsPause = defineOperation({
  name: "executions.pause",
  nodeScope: "honoured",
  service: "workflows",
  summary: "Start no further nodes; running ones finish",
  method: "POST",
  path: "/v1/executions/{execution}:pause",
  effect: "change",
  permission: "executions.control",
  input: z.strictObject(control),
  output: execution,
  errors: ["executions.not-found", "executions.finished", "executions.invalid-transition"],
})

export const executionsResume = defineOperation({
  name: "executions.resume",
  nodeScope: "honoured",
  service: "workflows",
  summary: "Go on with a paused execution",
  method: "POST",
  path: "/v1/executions/{execution}:resume",
  effect: "change",
  permission: "executions.control",
  input: z.strictObject(control),
  output: execution,
  errors: ["executions.not-found", "executions.finished", "executions.invalid-transition"],
})

export const executionsAbort = defineOperation({
  name: "executions.abort",
  nodeScope: "honoured",
  service: "workflows",
  summary: "Stop an execution for good",
  description:
    "`finish` lets running nodes finish; `kill` stops them too, and rolls them back where the workflow says so.",
  method: "POST",
  path: "/v1/executions/{execution}:abort",
  effect: "change",
  permission: "executions.control",
  input: z.strictObject({
    ...control,
    mode: z.enum(["finish", "kill"]).default("finish"),
    rollback: z.boolean().optional().describe("Puts all targets back once it has stopped, the succeeded ones too"),
  }),
  output: execution,
  errors: ["executions.not-found", "executions.finished", "executions.invalid-transition"],
})

export const tasksList = defineOperation({
  ...tasksListRoute,
  nodeScope: "honoured",
  service: "workflows",
  summary: "List the tasks of an execution",
  permission: "executions.read",
  input: z.strictObject({ ...executionInput, ...pageInput, state: z.enum(taskStates).optional() }),
  output: pageOf(task),
  errors: ["executions.not-found", "request.invalid-cursor"],
  table: { rows: "items", columns: ["ordinal", "nodeName", "state", "rollback", "class", "attempt", "message"] },
})

export const tasksGet = defineOperation({
  ...tasksGetRoute,
  nodeScope: "honoured",
  service: "workflows",
  summary: "Show a task with the result and output of each step",
  permission: "executions.read",
  input: z.strictObject({
    ...executionInput,
    task: z.string().max(128).describe("The task's number, id or node name"),
  }),
  output: taskDetails,
  errors: ["executions.not-found", "executions.task-not-found"],
})

export const tasksOutput = defineOperation({
  ...tasksOutputRoute,
  nodeScope: "honoured",
  service: "workflows",
  summary: "Show all that is kept of what a task's steps wrote",
  description: "Where tasks.get shows only the head and tail of long outputs, this shows all that the node kept.",
  permission: "executions.read",
  input: z.strictObject({
    ...executionInput,
    task: z.string().max(128).describe("The task's number, id or node name"),
    phase: z.enum(["task", "rollback"]).default("task"),
    cursor: pageInput.cursor,
  }),
  output: z.object({
    items: z.array(
      z.object({
        step: z.int().min(0),
        name: z.string(),
        stream: z.enum(["stdout", "stderr"]),
        text: z.string().describe("A part of the stream; what was not kept is told in its place"),
      }),
    ),
    nextCursor: z.string().optional().describe("Absent on the last page"),
  }),
  errors: ["executions.not-found", "executions.task-not-found", "request.invalid-cursor", "storage.blob-not-found"],
})

export const workflowsOperations = [
  workflowsApply,
  workflowsValidate,
  workflowsList,
  workflowsGet,
  executionsCreate,
  executionsPlan,
  executionsList,
  executionsGet,
  executionsWatch,
  executionsPause,
  executionsResume,
  executionsAbort,
  executionsResize,
  executionsRetry,
  executionsRollback,
  executionsEvidence,
  tasksList,
  tasksGet,
  tasksOutput,
] as const
