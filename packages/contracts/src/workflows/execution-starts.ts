import { z } from "zod"
import { nodeReference } from "../fleet/operations.ts"
import { defineOperation } from "../operation.ts"
import { countOrPercent, instant, limits, resourceName } from "../schemas.ts"
import { execution, executionInput, parameterValues, targets } from "./execution.ts"
import { executionsCreateRoute } from "./routes.ts"
import { strategyFields } from "./strategy.ts"

/** The operations that begin an execution, and the one that says beforehand what it would do. */
export const planLimits = { sampleDefault: 3, sampleMax: 20 } as const

const digest = z.string().regex(/^[0-9a-f]{64}$/, "a SHA-256 in hexadecimal digits")

const runFields = {
  workflow: resourceName.optional().describe("A stored workflow; or give `document`"),
  version: z.int().min(1).optional(),
  document: z.string().min(1).max(limits.documentBytesMax).optional().describe("An inline workflow document"),
  parameters: parameterValues.default({}),
  targets,
  ...strategyFields,
  targetsMax: z.int().min(1).max(10_000_000).optional().describe("Needed where more than 100 nodes are touched"),
} as const

const runErrors = [
  "workflows.not-found",
  "workflows.version-not-found",
  "workflows.invalid-document",
  "workflows.invalid-parameters",
  "workflows.invalid-template",
  "executions.no-targets",
  "executions.unknown-target",
  "executions.blast-radius",
  "executions.needs-agent",
  "executions.outside-scope",
  "secrets.not-found",
  "artifacts.not-found",
  "executions.invalid-strategy",
  "fleet.invalid-tag-query",
  "fleet.group-not-found",
  "calendars.window-not-found",
  "approvals.template-not-found",
  "approvals.group-not-found",
  "approvals.unreachable",
  "request.invalid-input",
] as const

export const executionsCreate = defineOperation({
  ...executionsCreateRoute,
  nodeScope: "honoured",
  service: "workflows",
  summary: "Start a workflow over targets",
  description:
    "Targets are resolved once, when the run is planned; the run uses that frozen set. Members of the strategy take the place of the workflow's.",
  permission: "executions.run",
  gateAttributes: { workflow: "workflow" },
  input: z.strictObject({
    ...runFields,
    planDigest: digest.optional().describe("Of `executions.plan`: refused where something else would run now"),
    note: z.string().max(limits.noteLengthMax).optional(),
  }),
  output: execution,
  errors: [...runErrors, "executions.plan-changed"],
})

const count = z.int().min(0)

export const executionPlan = z.object({
  workflow: z.object({ name: z.string(), version: z.int().optional(), digest: z.string() }),
  parameters: parameterValues,
  targets: z.object({
    text: z.string(),
    count,
    digest: z.string().describe("SHA-256 over the sorted node ids, one a line"),
  }),
  blastRadius: z.object({
    verdict: z.enum(["within", "exceeded"]),
    targetsMax: count.describe("Nodes that this run may touch; exceeded is refused by executions.create"),
  }),
  concurrency: z.string().describe("As it was given"),
  width: z.int(),
  errorLimit: z.string().describe("As it was given"),
  errorsMax: z.int(),
  strategy: execution.shape.strategy,
  domains: z
    .object({ tag: z.string(), count: z.int(), largest: z.int(), withoutTag: z.int() })
    .optional()
    .describe("How the targets fall into failure domains"),
  windows: z
    .object({ open: z.boolean(), name: z.string().optional(), changesAt: instant.optional() })
    .optional()
    .describe("Whether targets could start now"),
  secrets: z.record(z.string(), z.int()).describe("Which version of each secret would be used, by name"),
  artifacts: z.record(z.string(), digest).describe("Which content each artifact has, by the text that names it"),
  steps: z.array(
    z.object({
      name: z.string(),
      kind: z.string(),
      undo: z.enum(["restored", "command", "none"]).describe("restored: put back by itself; none: not covered"),
    }),
  ),
  approvals: z
    .array(
      z.object({
        step: z.string(),
        template: z.string(),
        version: z.int(),
        scope: z.enum(["execution", "task"]),
        groups: z.record(z.string(), z.string()).describe("By level name: the group that answers there"),
      }),
    )
    .describe("Steps that wait until people have said yes"),
  rollback: z.object({
    when: z.enum(["never", "on-failure", "all"]),
    saved: z.array(z.string()),
    notCovered: z.array(z.string()).describe("Steps whose effects nothing puts back"),
  }),
  durationMax: z.string().describe("At most, as far as the plan's timeouts bound it; holds and pauses come on top"),
  sample: z.array(
    z.object({
      node: z.string(),
      nodeName: z.string(),
      steps: z.array(z.object({ name: z.string(), does: z.string() })),
    }),
  ),
  asked: z
    .array(
      z.object({
        step: z.string(),
        level: z.string(),
        strategy: z.string(),
        members: z.array(z.object({ name: z.string(), barred: z.string().optional() })),
      }),
    )
    .optional()
    .describe("Who would be asked by those steps, as the groups are now; barred: who may not answer this caller"),
  planDigest: digest.describe("Of everything above but the windows' state, the sample and who is asked"),
})

export const executionsPlan = defineOperation({
  name: "executions.plan",
  nodeScope: "honoured",
  service: "workflows",
  summary: "Show what a run would do, without starting it",
  description: "The same input as executions.create. Give the plan's digest there to run exactly this or nothing.",
  method: "POST",
  path: "/v1/executions:plan",
  effect: "read",
  permission: "executions.read",
  input: z.strictObject({
    ...runFields,
    sample: z.int().min(0).max(planLimits.sampleMax).default(planLimits.sampleDefault).describe("Targets to spell out"),
  }),
  output: executionPlan,
  errors: [...runErrors],
})

export const retryStates = ["failed", "aborted", "interrupted", "unreachable", "never-started"] as const
export const failureClasses = [
  "command",
  "timeout",
  "unreachable",
  "interrupted",
  "system",
  "refused",
  "denied",
  "unapproved",
] as const

const followFields = {
  ...executionInput,
  concurrency: countOrPercent.optional().describe("Nodes in flight at once; else as in the execution"),
  errorLimit: countOrPercent.optional().describe("Failures tolerated; else as in the execution"),
  note: z.string().max(limits.noteLengthMax).optional(),
} as const

export const executionsRetry = defineOperation({
  name: "executions.retry",
  nodeScope: "honoured",
  service: "workflows",
  summary: "Try the failed tasks of an execution again, in a new one",
  description:
    "With the same definition, parameters and strategy. Nodes that don't exist any more are left out and named.",
  method: "POST",
  path: "/v1/executions/{execution}:retry",
  effect: "change",
  permission: "executions.run",
  input: z.strictObject({
    ...followFields,
    states: z.array(z.enum(retryStates)).min(1).default(["failed"]).describe("Of the tasks to try again"),
    classes: z.array(z.enum(failureClasses)).min(1).optional().describe("Only failures of these classes"),
    nodes: z.array(nodeReference).min(1).max(limits.pageItemsMax).optional().describe("Only these nodes"),
  }),
  output: execution,
  errors: ["executions.not-found", "executions.not-finished", "executions.no-targets", "request.invalid-input"],
})

export const executionsRollback = defineOperation({
  name: "executions.rollback",
  nodeScope: "honoured",
  service: "workflows",
  summary: "Put the targets of an ended execution back, the last one first",
  description:
    "A new execution whose tasks are the rollbacks. Agents keep what succeeded tasks need for it where the strategy's rollback is `all`.",
  method: "POST",
  path: "/v1/executions/{execution}:rollback",
  effect: "change",
  permission: "executions.run",
  input: z.strictObject({
    ...followFields,
    include: z.enum(["failed", "succeeded", "all"]).default("all").describe("Of the targets not yet rolled back"),
  }),
  output: execution,
  errors: [
    "executions.not-found",
    "executions.not-finished",
    "executions.no-targets",
    "executions.rollback-running",
    "executions.invalid-transition",
    "request.invalid-input",
  ],
})

export const executionsResize = defineOperation({
  name: "executions.resize",
  nodeScope: "honoured",
  service: "workflows",
  summary: "Change how many nodes are in flight at once, while the execution runs",
  description: "Fewer than are in flight now stops none of them: the run drains down to the new width.",
  method: "POST",
  path: "/v1/executions/{execution}:resize",
  effect: "change",
  permission: "executions.control",
  input: z.strictObject({
    ...executionInput,
    concurrency: countOrPercent,
    reason: z.string().max(limits.noteLengthMax).optional(),
  }),
  output: execution,
  errors: ["executions.not-found", "executions.finished", "executions.invalid-transition"],
})
