import { z } from "zod"
import { inventory } from "./inventory.ts"

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
  heartbeatSeconds: 10,
  /** A session that was silent for so long is taken as lost. */
  sessionSilenceSeconds: 30,
  /** One exchange's frames, each way: how many, and their bytes as JSON strings; below the limit of an HTTP body. */
  exchangeFramesMax: 256,
  exchangeBytesMax: 768 * 1024,
  /** How long the server may hold an exchange back until it has something to say; below the silence. */
  exchangeWaitMillisecondsMax: 25_000,
} as const

export const attemptKey = z.string().regex(/^exe_[0-9a-z]{26}\/\d{1,9}\/\d{1,4}$/)

export function formatAttemptKey(executionId: string, ordinal: number, attempt: number): string {
  return `${executionId}/${ordinal}/${attempt}`
}

/** The parts of a key that matches `attemptKey`. */
export function parseAttemptKey(key: string): { executionId: string; ordinal: number; attempt: number } {
  const [executionId = "", ordinal, attempt] = key.split("/")
  return { executionId, ordinal: Number(ordinal), attempt: Number(attempt) }
}

/** How a command is given: words that are run as they are, or a text for /bin/sh. */
export const command = z.union([
  z.strictObject({
    argv: z
      .array(z.string().max(128 * 1024))
      .min(1)
      .max(1000),
  }),
  z.strictObject({
    shell: z
      .string()
      .min(1)
      .max(128 * 1024),
  }),
])

/** Settings of a process, shared by a step's command and by its undo. */
const processSettings = {
  environment: z.record(z.string(), z.string()),
  directory: z.string().max(4096).optional().describe("Relative to the agent's root"),
  user: z.string().max(64).optional(),
  timeoutMilliseconds: z.int().min(1),
  outputKeptBytes: z
    .int()
    .min(0)
    .max(agentLimits.outputKeptBytesMax)
    .describe("Kept of each stream, half from its head, half from its tail"),
}

export const stepOrder = z.strictObject({
  name: z.string().max(128),
  command,
  ...processSettings,
  attemptsMax: z.int().min(1).max(100),
  retryDelayMilliseconds: z.int().min(0),
  undo: command.optional(),
})

export const taskOrder = z.strictObject({
  /** Files and directories, relative to the agent's root, saved before the first step and put back by a rollback. */
  save: z.array(z.string().min(1).max(4096)).max(agentLimits.savedPathsMax),
  steps: z.array(stepOrder).min(1).max(agentLimits.stepsMax),
  timeoutMilliseconds: z.int().min(1),
})

export const keptOutput = z.object({
  head: z.string(),
  tail: z.string().describe("Empty where the head holds everything"),
  bytes: z.int().describe("What the process wrote in all"),
  truncated: z.boolean(),
})

export const stepResult = z.object({
  name: z.string(),
  state: z.enum(["succeeded", "failed", "timed-out", "killed", "not-run"]),
  attempts: z.int(),
  exitCode: z.int().optional(),
  signal: z.string().optional(),
  startedAt: z.string().optional(),
  durationMilliseconds: z.int(),
  stdout: keptOutput.optional(),
  stderr: keptOutput.optional(),
  message: z.string().max(2000).optional(),
})

export const taskOutcome = z.object({
  state: z.enum(["succeeded", "failed", "aborted", "interrupted"]),
  class: z.enum(["command", "timeout", "interrupted", "system", "refused"]).optional(),
  message: z.string().max(2000).optional(),
  steps: z.array(stepResult).max(agentLimits.stepsMax),
})

export const rollbackOutcome = z.object({
  state: z.enum(["rolled-back", "rollback-failed", "not-reversible", "unknown"]),
  message: z.string().max(2000).optional(),
  restored: z.int().describe("Saved paths that were put back"),
  undone: z.array(stepResult).max(agentLimits.stepsMax),
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
])

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
  }),
  z.strictObject({ type: z.literal("rollback"), key: attemptKey }),
  z.strictObject({ type: z.literal("kill"), key: attemptKey, reason: z.string().max(500) }),
  z.strictObject({ type: z.literal("acknowledge"), key: attemptKey, phase: z.enum(["task", "rollback"]) }),
  z.strictObject({ type: z.literal("collect-inventory") }),
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
export type CommandOrder = z.output<typeof command>
export type StepResult = z.output<typeof stepResult>
export type KeptOutput = z.output<typeof keptOutput>
export type TaskOutcome = z.output<typeof taskOutcome>
export type RollbackOutcome = z.output<typeof rollbackOutcome>
export type AttemptPhase = "task" | "rollback"
