import { z } from "zod"
import { rollbackOutcome, taskOutcome } from "../fleet/agent-protocol.ts"
import { nodeReference, tagQuery } from "../fleet/operations.ts"
import { defineOperation } from "../operation.ts"
import { countOrPercent, instant, limits, pageInput, pageOf, resourceName } from "../schemas.ts"

export const executionStates = [
  "planning",
  "running",
  "pausing",
  "paused",
  "aborting",
  "succeeded",
  "incomplete",
  "failed",
  "aborted",
] as const
export const executionStatesTerminal = ["succeeded", "incomplete", "failed", "aborted"] as const
export const taskStates = [
  "queued",
  "starting",
  "running",
  "succeeded",
  "failed",
  "aborted",
  "interrupted",
  "unreachable",
  "skipped",
  "never-started",
] as const
export const rollbackStates = [
  "none",
  "pending",
  "running",
  "rolled-back",
  "rollback-failed",
  "not-reversible",
  "unknown",
] as const

export const parameterValue = z.union([z.string().max(8192), z.number(), z.boolean()])
export const parameterValues = z
  .record(z.string().max(63), parameterValue)
  .refine((value) => Object.keys(value).length <= limits.parametersMax, `at most ${limits.parametersMax} parameters`)

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
  errors: ["workflows.invalid-document", "workflows.document-too-large", "workflows.version-conflict"],
})

export const workflowsValidate = defineOperation({
  name: "workflows.validate",
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

export const targets = z
  .strictObject({
    nodes: z.array(nodeReference).min(1).max(limits.targetsListMax).optional(),
    query: tagQuery.optional(),
    group: resourceName.optional(),
    all: z.literal(true).optional(),
  })
  .refine(
    (value) => Object.values(value).filter((member) => member !== undefined).length === 1,
    "give exactly one of nodes, query, group and all",
  )

const count = z.int().min(0)
export const executionCounts = z.object({
  queued: count,
  starting: count,
  running: count,
  succeeded: count,
  failed: count,
  aborted: count,
  interrupted: count,
  unreachable: count,
  skipped: count,
  neverStarted: count,
  rollbackPending: count,
  rollbackRunning: count,
  rolledBack: count,
  rollbackFailed: count,
  notReversible: count,
  rollbackUnknown: count,
})

export const execution = z.object({
  id: z.string(),
  state: z.enum(executionStates),
  reason: z.string().optional().describe("Why it stopped, in a sentence"),
  workflow: z.object({ name: z.string(), version: z.int().optional().describe("Absent for an inline document") }),
  parameters: parameterValues,
  targets: z.object({
    text: z.string(),
    count,
    digest: z.string().optional().describe("SHA-256 over the sorted node ids, one a line"),
  }),
  concurrency: z.string().describe("As it was given"),
  width: z.int().describe("Nodes in flight at once"),
  errorLimit: z.string().describe("As it was given"),
  errorsMax: z.int().describe("Failures tolerated; one more stops the run"),
  inFlight: count.describe("Nodes that hold a slot now, rollbacks included"),
  counts: executionCounts,
  note: z.string().optional(),
  cause: z.string(),
  createdAt: instant,
  createdBy: z.string(),
  startedAt: instant.optional(),
  finishedAt: instant.optional(),
  stopRequestedBy: z.string().optional(),
})

export const task = z
  .object({
    id: z.string(),
    execution: z.string(),
    ordinal: count,
    node: z.string(),
    nodeName: z.string(),
    state: z.enum(taskStates),
    rollback: z.enum(rollbackStates),
    class: z.string().optional().describe("Of a failure: command, timeout, unreachable, interrupted, system, refused"),
    attempt: z.int(),
    message: z.string().optional(),
    startedAt: instant.optional(),
    finishedAt: instant.optional(),
  })
  .describe("One target of an execution")

export const executionsCreate = defineOperation({
  name: "executions.create",
  service: "workflows",
  summary: "Start a workflow over targets",
  description: "Targets are resolved once, when the run is planned; the run uses that frozen set.",
  method: "POST",
  path: "/v1/executions",
  effect: "change",
  permission: "executions.run",
  input: z.strictObject({
    workflow: resourceName.optional().describe("A stored workflow; or give `document`"),
    version: z.int().min(1).optional(),
    document: z.string().min(1).max(limits.documentBytesMax).optional().describe("An inline workflow document"),
    parameters: parameterValues.default({}),
    targets,
    concurrency: countOrPercent.optional().describe("Nodes in flight at once; else the workflow's; else by fleet size"),
    errorLimit: countOrPercent.optional().describe("Failures tolerated; else the workflow's; else by fleet size"),
    targetsMax: z.int().min(1).max(10_000_000).optional().describe("Needed where more than 100 nodes are touched"),
    note: z.string().max(limits.noteLengthMax).optional(),
  }),
  output: execution,
  errors: [
    "workflows.not-found",
    "workflows.version-not-found",
    "workflows.invalid-document",
    "workflows.invalid-parameters",
    "workflows.invalid-template",
    "executions.no-targets",
    "executions.unknown-target",
    "executions.blast-radius",
    "fleet.invalid-tag-query",
    "fleet.group-not-found",
    "request.invalid-input",
  ],
})

export const executionsList = defineOperation({
  name: "executions.list",
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
  }),
  output: pageOf(execution),
  errors: ["request.invalid-cursor"],
  table: {
    rows: "items",
    columns: ["id", "workflow.name", "state", "targets.count", "counts.succeeded", "counts.failed", "createdAt"],
  },
})

const executionInput = { execution: z.string().max(64).describe("An execution's id") }

export const executionsGet = defineOperation({
  name: "executions.get",
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

/** One message of `executions.watch`: the whole execution, then what changed. */
export const executionUpdate = z.object({
  execution,
  tasks: z.array(
    task
      .extend({ step: z.string().optional(), progress: z.number().optional() })
      .describe("Tasks that changed since the message before"),
  ),
  output: z.array(z.object({ ordinal: count, step: count, stream: z.enum(["stdout", "stderr"]), text: z.string() })),
})

export const executionsWatch = defineOperation({
  name: "executions.watch",
  service: "workflows",
  summary: "Follow an execution live until it ends",
  method: "GET",
  path: "/v1/executions/{execution}:watch",
  effect: "stream",
  permission: "executions.read",
  input: z.strictObject({
    ...executionInput,
    output: z.enum(["true", "false"]).default("false").describe("With the tasks' output"),
  }),
  output: executionUpdate,
  errors: ["executions.not-found"],
})

const control = { ...executionInput, reason: z.string().max(limits.noteLengthMax).optional() }

export const executionsPause = defineOperation({
  name: "executions.pause",
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
  service: "workflows",
  summary: "Stop an execution for good",
  description:
    "`finish` lets running nodes finish; `kill` stops them too, and rolls them back where the workflow says so.",
  method: "POST",
  path: "/v1/executions/{execution}:abort",
  effect: "change",
  permission: "executions.control",
  input: z.strictObject({ ...control, mode: z.enum(["finish", "kill"]).default("finish") }),
  output: execution,
  errors: ["executions.not-found", "executions.finished", "executions.invalid-transition"],
})

export const tasksList = defineOperation({
  name: "tasks.list",
  service: "workflows",
  summary: "List the tasks of an execution",
  method: "GET",
  path: "/v1/executions/{execution}/tasks",
  effect: "read",
  permission: "executions.read",
  input: z.strictObject({ ...executionInput, ...pageInput, state: z.enum(taskStates).optional() }),
  output: pageOf(task),
  errors: ["executions.not-found", "request.invalid-cursor"],
  table: { rows: "items", columns: ["ordinal", "nodeName", "state", "rollback", "class", "attempt", "message"] },
})

export const tasksGet = defineOperation({
  name: "tasks.get",
  service: "workflows",
  summary: "Show a task with the result and output of each step",
  method: "GET",
  path: "/v1/executions/{execution}/tasks/{task}",
  effect: "read",
  permission: "executions.read",
  input: z.strictObject({
    ...executionInput,
    task: z.string().max(128).describe("The task's number, id or node name"),
  }),
  output: task.extend({ outcome: taskOutcome.optional(), rollbackOutcome: rollbackOutcome.optional() }),
  errors: ["executions.not-found", "executions.task-not-found"],
})

export const workflowsOperations = [
  workflowsApply,
  workflowsValidate,
  workflowsList,
  workflowsGet,
  executionsCreate,
  executionsList,
  executionsGet,
  executionsWatch,
  executionsPause,
  executionsResume,
  executionsAbort,
  tasksList,
  tasksGet,
] as const
