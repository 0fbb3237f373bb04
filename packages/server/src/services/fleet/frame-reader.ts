/** Reads what an agent sends. Pure. */
import { agentFrame, agentLimits, attemptKeyPattern, type AgentFrame } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError } from "@signalbox/kernel/app-error"
import type { ErrorCode } from "@signalbox/kernel/error-catalogue"

/** @throws fleet.protocol-violation */
export function readFrame(data: Buffer, isBinary: boolean): AgentFrame {
  if (isBinary) throw violation("frames are text")
  if (data.length > agentLimits.frameBytesMax) throw violation(`a frame has at most ${agentLimits.frameBytesMax} bytes`)
  let value: unknown
  try {
    value = JSON.parse(data.toString("utf8"))
  } catch (cause) {
    throw violation("the frame is no JSON", cause)
  }
  if (isUsualFinish(value)) return value
  const result = agentFrame.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  throw violation(`the frame doesn't fit the protocol: ${issue?.path.join(".") ?? ""} ${issue?.message ?? ""}`)
}

export function violation(message: string, cause?: unknown): AppError {
  return new AppError("fleet.protocol-violation" satisfies ErrorCode, message, { cause })
}

type Finish = Extract<AgentFrame, { type: "task-finished" }>

/**
 * Whether this is what most frames are: a task that succeeded, with nothing that the schema would refuse or leave out.
 * What is not so plain the schema judges, which takes five times as long.
 */
export function isUsualFinish(value: unknown): value is Finish {
  if (!isRecord(value) || value["type"] !== "task-finished" || Object.keys(value).length !== 3) return false
  const { key, outcome } = value
  if (typeof key !== "string" || !attemptKeyPattern.test(key)) return false
  if (!isRecord(outcome) || outcome["state"] !== "succeeded" || Object.keys(outcome).length !== 2) return false
  const { steps } = outcome
  return Array.isArray(steps) && steps.length <= agentLimits.stepsMax && steps.every(isUsualStep)
}

const usualStates: ReadonlySet<unknown> = new Set(["succeeded", "skipped"])

function isUsualStep(step: unknown): boolean {
  if (!isRecord(step) || !usualStates.has(step["state"])) return false
  if (typeof step["name"] !== "string" || !isInteger(step["attempts"]) || !isInteger(step["durationMilliseconds"]))
    return false
  return Object.keys(step).every((name) => isUsualMember(name, step[name]))
}

function isUsualMember(name: string, value: unknown): boolean {
  switch (name) {
    case "name":
    case "state":
    case "attempts":
    case "durationMilliseconds":
      return true
    case "exitCode":
      return isInteger(value)
    case "startedAt":
      return typeof value === "string"
    case "stdout":
    case "stderr":
      return isKeptOutput(value)
    case "changed":
      return typeof value === "boolean"
    default:
      return false
  }
}

function isKeptOutput(value: unknown): boolean {
  if (!isRecord(value) || Object.keys(value).length !== 4) return false
  const { head, tail, bytes, truncated } = value
  return typeof head === "string" && typeof tail === "string" && isInteger(bytes) && typeof truncated === "boolean"
}

const isInteger = (value: unknown): boolean => Number.isSafeInteger(value)

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}
