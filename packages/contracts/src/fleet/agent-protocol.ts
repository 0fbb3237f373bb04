import { z } from "zod"
import { inventory } from "./inventory.ts"
import { metricLimits, metricSample, metricWatch } from "./metrics.ts"

/**
 * The frames of an agent's session, one JSON text each: a message of its WebSocket, or where WebSockets are cut an
 * element of an exchange's `frames` (docs/agent-protocol.md has the picture).
 *
 * An attempt is named by its key, `<execution>/<ordinal>/<attempt>`; the pair (key, phase) is the unit of "at most
 * once" and of acknowledgement. The agent writes an attempt to its journal before it starts it, answers a repeated
 * order from the journal, and sends a `finished` report again until the server acknowledges it; the server does so
 * only after the report is durable.
 */
export const agentProtocolVersion = 1

export const agentLimits = {
  frameBytesMax: 4 * 1024 * 1024,
  stepsMax: 100,
  savedPathsMax: 100,
  outputKeptBytesDefault: 32 * 1024,
  outputKeptBytesMax: 1024 * 1024,
  outputChunkBytesMax: 16 * 1024,
  /** Of one output that a step passes on, in characters, and of all of a task's together. */
  outputValueLengthMax: 8192,
  outputValuesLengthMax: 64 * 1024,
  heartbeatSeconds: 10,
  /** A session that was silent for so long is taken as lost. */
  sessionSilenceSeconds: 30,
  /** One exchange's frames, each way: how many, and their bytes as JSON strings; below the limit of an HTTP body. */
  exchangeFramesMax: 256,
  exchangeBytesMax: 768 * 1024,
  /** How long the server may hold an exchange back until it has something to say; below the silence. */
  exchangeWaitMillisecondsMax: 25_000,
} as const

export const attemptKeyPattern = /^exe_[0-9a-z]{26}\/\d{1,9}\/\d{1,4}$/
export const attemptKey = z.string().regex(attemptKeyPattern)

export function formatAttemptKey(executionId: string, ordinal: number, attempt: number): string {
  return `${executionId}/${ordinal}/${attempt}`
}

/** The parts of a key that matches `attemptKey`. */
export function parseAttemptKey(key: string): { executionId: string; ordinal: number; attempt: number } {
  const [executionId = "", ordinal, attempt] = key.split("/")
  return { executionId, ordinal: Number(ordinal), attempt: Number(attempt) }
}

/**
 * Text that may hold what is known only on the node, at the time: a secret of the order, or an output of an earlier step.
 * The parts are joined as they are; in a command for a shell they stand in `environment`, never in the command itself.
 */
export const text = z.union([
  z.string().max(1024 * 1024),
  z
    .array(
      z.union([
        z.string().max(1024 * 1024),
        z.strictObject({ secret: z.string().max(64) }),
        z.strictObject({ step: z.string().max(32), output: z.string().max(64) }),
      ]),
    )
    .max(1000),
])

/** How a command is given: words that are run as they are, or a text for /bin/sh. */
export const command = z.union([
  z.strictObject({ argv: z.array(text).min(1).max(1000) }),
  z.strictObject({
    shell: z
      .string()
      .min(1)
      .max(128 * 1024),
  }),
])

/** Settings of a process, shared by a step's command and by its undo. */
const processSettings = {
  environment: z.record(z.string(), text),
  directory: z.string().max(4096).optional().describe("Relative to the agent's root"),
  user: z.string().max(64).optional(),
  timeoutMilliseconds: z.int().min(1),
  outputKeptBytes: z
    .int()
    .min(0)
    .max(agentLimits.outputKeptBytesMax)
    .describe("Kept of each stream, half from its head, half from its tail"),
}

const fileOrder = z.strictObject({
  path: z.string().min(1).max(4096).describe("Relative to the agent's root"),
  content: text.optional(),
  artifact: z
    .strictObject({ digest: z.string().regex(/^[0-9a-f]{64}$/), bytes: z.int().min(0), path: z.string().max(1000) })
    .optional()
    .describe("Fetched from the server at this path, with the session's token"),
  absent: z.literal(true).optional(),
  directory: z.literal(true).optional(),
  mode: z.int().min(0).max(0o7777).optional(),
  owner: z.string().max(64).optional(),
  group: z.string().max(64).optional(),
})

const serviceOrder = z.strictObject({
  name: z.string().min(1).max(256),
  state: z.enum(["started", "stopped", "restarted", "reloaded"]).optional(),
  enabled: z.boolean().optional(),
})

const waitOrder = z.union([
  z.strictObject({ milliseconds: z.int().min(0) }),
  z.strictObject({ port: text, host: z.string().max(255) }),
  z.strictObject({ path: z.string().min(1).max(4096) }),
])

const playbookOrder = z.strictObject({
  path: z.string().min(1).max(4096).optional(),
  content: z
    .string()
    .min(1)
    .max(1024 * 1024)
    .optional(),
  variables: z.record(z.string().max(128), z.union([text, z.number(), z.boolean()])),
  tags: z.array(z.string().max(128)).max(50),
})

/** Undone by the server: the agent asks for it with phase `rollback`. */
const serverUndo = z.strictObject({ server: z.enum(["http", "operation"]) })

/**
 * One step. Exactly one of `command`, `file`, `service`, `wait`, `playbook` and `server` is there. Members that an agent of
 * protocol 1.0 doesn't know are left out unless they are needed, so that it can carry out what it knows.
 */
export const stepOrder = z
  .strictObject({
    name: z.string().max(128),
    command: command.optional(),
    file: fileOrder.optional(),
    service: serviceOrder.optional(),
    wait: waitOrder.optional(),
    playbook: playbookOrder.optional(),
    server: z
      .enum(["http", "operation", "approval"])
      .optional()
      .describe("Performed by the server when the agent asks for it; the wait for an approval outlives the agent"),
    ...processSettings,
    attemptsMax: z.int().min(1).max(100),
    retryDelayMilliseconds: z.int().min(0),
    retryBackoff: z.number().min(1).max(10).optional(),
    retryDelayMillisecondsMax: z.int().min(0).optional(),
    retryJitter: z.number().min(0).max(1).optional(),
    undo: z.union([command, z.strictObject({ playbook: playbookOrder }), serverUndo]).optional(),
    id: z.string().max(32).optional(),
    when: z.string().max(2000).optional().describe("CEL over params, node and steps; skipped where it is false"),
    outputs: z.record(z.string().max(64), z.string().max(2000)).optional().describe("CEL over `result`"),
    continueOnFailure: z.literal(true).optional(),
  })
  .refine(
    (step) =>
      [step.command, step.file, step.service, step.wait, step.playbook, step.server].filter(
        (kind) => kind !== undefined,
      ).length === 1,
    "a step has one kind",
  )

/** What conditions are evaluated over, beside the steps' own results. */
const facts = z.strictObject({
  params: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  node: z.strictObject({ id: z.string(), name: z.string(), tags: z.record(z.string(), z.string()) }),
})

export const taskOrder = z.strictObject({
  /** Files and directories, relative to the agent's root, saved before the first step and put back by a rollback. */
  save: z.array(z.string().min(1).max(4096)).max(agentLimits.savedPathsMax),
  steps: z.array(stepOrder).min(1).max(agentLimits.stepsMax),
  timeoutMilliseconds: z.int().min(1),
  /** False: may run beside other tasks of the node. */
  exclusive: z.literal(false).optional(),
  /** The whole root is saved before the first step and compared after a rollback (W6). */
  whole: z.literal(true).optional(),
  /** What a rollback needs is kept after a success too, for so long. */
  keepMilliseconds: z.int().min(0).optional(),
  facts: facts.optional().describe("Where a step has a condition"),
})

export const keptOutput = z.object({
  head: z.string(),
  tail: z.string().describe("Empty where the head holds everything"),
  bytes: z.int().describe("What the process wrote in all"),
  truncated: z.boolean(),
})

export const stepResult = z.object({
  name: z.string(),
  state: z.enum(["succeeded", "failed", "timed-out", "killed", "not-run", "skipped"]),
  attempts: z.int(),
  exitCode: z.int().optional(),
  signal: z.string().optional(),
  startedAt: z.string().optional(),
  durationMilliseconds: z.int(),
  stdout: keptOutput.optional(),
  stderr: keptOutput.optional(),
  message: z.string().max(2000).optional(),
  changed: z.boolean().optional().describe("Whether it changed anything, where the kind of step can tell"),
  denied: z.literal(true).optional().describe("People, or their silence, said no"),
  outputs: z.record(z.string().max(64), z.string().max(agentLimits.outputValueLengthMax)).optional(),
})

export const taskOutcome = z.object({
  state: z.enum(["succeeded", "failed", "aborted", "interrupted"]),
  class: z.enum(["command", "timeout", "interrupted", "system", "refused", "denied", "unapproved"]).optional(),
  message: z.string().max(2000).optional(),
  steps: z.array(stepResult).max(agentLimits.stepsMax),
})

export const rollbackOutcome = z.object({
  state: z.enum(["rolled-back", "rollback-failed", "not-reversible", "unknown"]),
  message: z.string().max(2000).optional(),
  restored: z.int().describe("Saved paths that were put back"),
  undone: z.array(stepResult).max(agentLimits.stepsMax),
  notCovered: z
    .array(z.string().max(500))
    .max(100)
    .optional()
    .describe("What the task may have changed and this rollback did not look at (W6)"),
})

/** Agent to server. */
export const agentFrame = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("hello"),
    protocol: z.int(),
    agentVersion: z.string().max(64),
    machineId: z.string().max(128),
    bootId: z.string().max(128),
    /** Attempts that the journal holds and the server has not acknowledged. */
    open: z
      .array(
        z.strictObject({
          key: attemptKey,
          phase: z.enum(["task", "rollback"]),
          state: z.enum(["accepted", "running", "finished"]),
        }),
      )
      .max(1000),
  }),
  z.strictObject({ type: z.literal("heartbeat"), load: z.number().optional() }),
  z.strictObject({ type: z.literal("inventory"), inventory }),
  z.strictObject({ type: z.literal("accepted"), key: attemptKey, phase: z.enum(["task", "rollback"]) }),
  z.strictObject({
    type: z.literal("started"),
    key: attemptKey,
    phase: z.enum(["task", "rollback"]),
    at: z.string().max(40),
  }),
  z.strictObject({
    type: z.literal("progress"),
    key: attemptKey,
    step: z.int(),
    stepsCount: z.int(),
    name: z.string().max(128),
    percent: z.number().min(0).max(100).optional(),
    message: z.string().max(500).optional(),
  }),
  z.strictObject({
    type: z.literal("output"),
    key: attemptKey,
    step: z.int(),
    stream: z.enum(["stdout", "stderr"]),
    offset: z.int(),
    text: z.string().max(agentLimits.outputChunkBytesMax * 2),
  }),
  z.strictObject({ type: z.literal("task-finished"), key: attemptKey, outcome: taskOutcome }),
  z.strictObject({ type: z.literal("rollback-finished"), key: attemptKey, outcome: rollbackOutcome }),
  /** Asks the server to perform a step of kind `server`; sent again after a new session until the answer has come. */
  z.strictObject({
    type: z.literal("step-request"),
    key: attemptKey,
    phase: z.enum(["task", "rollback"]),
    step: z.int().min(0),
    try: z.int().min(1).max(100),
    /** Outputs of earlier steps, by step id and name: all there are. */
    values: z.record(z.string().max(32), z.record(z.string().max(64), z.string().max(8192))),
  }),
  z.strictObject({ type: z.literal("probe-finished"), id: z.string().max(64), result: stepResult }),
  /** What `watch-metrics` asked for and came due at one time; never sent unasked, so a server that knows it not sees none. */
  z.strictObject({ type: z.literal("metrics"), samples: z.array(metricSample).min(1).max(metricLimits.watchesMax) }),
])

/** Values of the secrets that an order names: kept in memory alone, masked in everything that is sent or stored. */
const secretValues = z.record(z.string().max(64), z.string().max(64 * 1024))

/** Server to agent. */
export const serverFrame = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("welcome"),
    session: z.string(),
    node: z.string(),
    heartbeatSeconds: z.int(),
    now: z.string(),
  }),
  z.strictObject({
    type: z.literal("start"),
    key: attemptKey,
    /** The agent refuses to begin after this instant of the server's clock (it knows the offset from `welcome`). */
    startBefore: z.string(),
    order: taskOrder,
    secrets: secretValues.optional(),
  }),
  z.strictObject({ type: z.literal("rollback"), key: attemptKey, secrets: secretValues.optional() }),
  /** What came of a step that the server performed; `values` are its outputs before `outputs` of the order is applied. */
  z.strictObject({
    type: z.literal("step-result"),
    key: attemptKey,
    phase: z.enum(["task", "rollback"]),
    step: z.int().min(0),
    try: z.int().min(1).max(100),
    result: stepResult,
    /** What the order's `outputs` are evaluated over: status, headers and body of a reply, or an operation's output. */
    reply: z.record(z.string(), z.unknown()).optional(),
    /** After a wait for people, for an agent that was restarted meanwhile: the order's secrets once more. */
    secrets: secretValues.optional(),
  }),
  /** Runs a command that changes nothing, beside whatever runs, without the journal: a health check. */
  z.strictObject({
    type: z.literal("probe"),
    id: z.string().max(64),
    command,
    timeoutMilliseconds: z.int().min(1).max(600_000),
  }),
  z.strictObject({ type: z.literal("kill"), key: attemptKey, reason: z.string().max(500) }),
  z.strictObject({ type: z.literal("acknowledge"), key: attemptKey, phase: z.enum(["task", "rollback"]) }),
  z.strictObject({ type: z.literal("collect-inventory") }),
  /** What is measured from now on, in this session, in the place of what was asked before. */
  z.strictObject({ type: z.literal("watch-metrics"), watches: z.array(metricWatch).max(metricLimits.watchesMax) }),
  z.strictObject({ type: z.literal("refused"), code: z.string(), message: z.string() }),
])

/** Numbers of frames count from 1 in each direction of a session. */
const frameNumber = z.int().min(1)

/** One call of `sessions.exchange`: what the agent sends, and what it has. */
export const exchangeCall = z.strictObject({
  session: z.string().max(64).optional().describe("Absent: opens a session"),
  sequence: frameNumber.describe("The number of the first of `frames`, or of the next one"),
  frames: z
    .array(z.string().min(1).max(agentLimits.exchangeBytesMax))
    .max(agentLimits.exchangeFramesMax)
    .describe("The agent's frames, one JSON text each, as on the WebSocket"),
  received: z.int().min(0).describe("How many of the server's frames have come"),
  waitMilliseconds: z
    .int()
    .min(0)
    .max(agentLimits.exchangeWaitMillisecondsMax)
    .default(0)
    .describe("How long to wait for a frame where there is none"),
  end: z.literal(true).optional().describe("Ends the session after these frames"),
})

export const exchangeReply = z.object({
  session: z.string(),
  sequence: frameNumber.describe("The number of the first of `frames`, or of the next one"),
  frames: z.array(z.string()).describe("The server's frames that were not received yet, one JSON text each"),
  received: z.int().describe("How many of the agent's frames have come"),
  ended: z.string().optional().describe("Why the session has ended; these are its last frames"),
})

export type AgentFrame = z.output<typeof agentFrame>
export type ServerFrame = z.output<typeof serverFrame>
export type ExchangeCall = z.output<typeof exchangeCall>
export type ExchangeReply = z.output<typeof exchangeReply>
export type TaskOrder = z.output<typeof taskOrder>
export type StepOrder = z.output<typeof stepOrder>
export type Text = z.output<typeof text>
export type PlaybookOrder = z.output<typeof playbookOrder>
export type FileOrder = z.output<typeof fileOrder>
export type ServiceOrder = z.output<typeof serviceOrder>
export type WaitOrder = z.output<typeof waitOrder>
export type CommandOrder = z.output<typeof command>
export type StepResult = z.output<typeof stepResult>
export type KeptOutput = z.output<typeof keptOutput>
export type TaskOutcome = z.output<typeof taskOutcome>
export type RollbackOutcome = z.output<typeof rollbackOutcome>
export type AttemptPhase = "task" | "rollback"
