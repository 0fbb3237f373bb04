import { z } from "zod"
import { nodeReference, tagQuery } from "../fleet/operations.ts"
import { instant, limits, resourceName } from "../schemas.ts"
import { executionStates, executionStatesTerminal } from "./execution-states.ts"

/** Executions and their tasks as callers see them; the operations are in `operations.ts`. */
export { executionStates, executionStatesTerminal }

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
export const taskResults = [
  "ok",
  "failed",
  "rolled-back",
  "rollback-failed",
  "not-reversible",
  "unknown",
  "untouched",
] as const

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

/** Failures by class: aborted tasks have none. */
const classCounts = z.object({
  command: count,
  timeout: count,
  unreachable: count,
  interrupted: count,
  system: count,
  refused: count,
  denied: count,
  unapproved: count,
})

/** Targets by what became of them (W7); those whose task or rollback still runs are in none. */
const resultCounts = z.object({
  ok: count,
  failed: count.describe("Changed or half changed, and not put back"),
  rolledBack: count,
  rollbackFailed: count,
  notReversible: count,
  unknown: count.describe("Nobody knows: interrupted, or a rollback without an answer"),
  untouched: count.describe("Skipped, refused, unreachable or never started"),
})

/** The strategy in force, in numbers: percentages are of the targets that the plan found. */
const resolvedStrategy = z.object({
  ramp: z.boolean(),
  waves: z.array(z.int()).optional().describe("Targets of each wave, the first 100"),
  wavesCount: z.int(),
  bake: z.string().optional(),
  unavailableMax: z.int().optional(),
  failureDomain: z.string().optional(),
  errorsMaxByClass: z.record(z.string(), z.int()).optional(),
  errorRate: z.object({ limit: z.string(), sample: z.int() }).optional(),
  strict: z.boolean(),
  countUnreachable: z.boolean(),
  stopWhen: z.string().optional(),
  health: z.string().optional().describe("What is asked, in short"),
  windows: z.array(z.string()).optional(),
  rollback: z.enum(["never", "on-failure", "all"]),
  rollbackWidth: z.int().optional(),
})

const waitsFor = z
  .object({
    for: z.enum(["plan", "drain", "approval", "hold", "bake", "wave", "width"]),
    text: z.string(),
    until: instant.optional(),
  })
  .describe("What keeps the next target from starting")

const healthState = z.object({
  ok: z.boolean().describe("Of the last check"),
  message: z.string(),
  at: instant,
  checks: count,
  failures: count.describe("In a row"),
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
  draining: count.optional().describe("While pausing or aborting: nodes that still have to end"),
  counts: executionCounts,
  classes: classCounts.optional().describe("Failures by class"),
  results: resultCounts,
  strategy: resolvedStrategy,
  wave: z.object({ number: z.int(), count: z.int() }).optional().describe("The wave in hand, where there are waves"),
  waitsFor: waitsFor.optional(),
  approvals: z
    .array(z.object({ request: z.string(), step: z.string(), node: z.string().optional() }))
    .optional()
    .describe("Approval requests that tasks wait for, the first 20; node: where each target is asked for by itself"),
  health: healthState.optional(),
  kind: z.enum(["run", "retry", "rollback"]).describe("Whether it is about the tasks of an execution before"),
  retryOf: z.string().optional().describe("The execution whose tasks this one tries again"),
  rollbackOf: z.string().optional().describe("The execution whose tasks this one rolls back"),
  rolledBackBy: z.array(z.string()).optional().describe("Executions that roll this one back"),
  vanished: z
    .object({ count, nodes: z.array(z.string()) })
    .optional()
    .describe("Of a retry or rollback: nodes that don't exist any more, the first 100 by name"),
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
    class: z
      .string()
      .optional()
      .describe("Of a failure: command, timeout, unreachable, interrupted, system, refused, denied, unapproved"),
    attempt: z.int(),
    result: z.enum(taskResults).optional().describe("What became of the target, once its task and rollback have ended"),
    rolledBackBy: z.string().optional().describe("The later execution that rolls it back, or did"),
    message: z.string().optional(),
    startedAt: instant.optional(),
    finishedAt: instant.optional(),
  })
  .describe("One target of an execution")

export const executionInput = { execution: z.string().max(64).describe("An execution's id") }
