/**
 * Outcomes that are too long for a row (X13): the whole goes into the blob store, the row keeps head and tail of each
 * output and the digest. Pure but for the store that it is given.
 */
import type { RollbackOutcome, StepResult, TaskOutcome } from "@signalbox/contracts/fleet/agent-protocol"
import type { Blobs } from "../../storage/blobs.ts"
import type { QueuedInput } from "./report-queue.ts"

/** In characters of JSON; longer outcomes are shortened. */
export const outcomeLengthMax = 64 * 1024
/** What a row keeps of each stream of a step, in characters: half of it from the head, half from the tail. */
const streamKeptLength = 4 * 1024
const streamKeptLengthMin = 64

type Outcome = TaskOutcome | RollbackOutcome

export function isLong({ outcome, rollbackOutcome }: QueuedInput): boolean {
  return Math.max(outcome?.length ?? 0, rollbackOutcome?.length ?? 0) > outcomeLengthMax
}

/** Puts the whole outcome into the store; where that fails, only the short one is left, which says nothing of more. */
export async function shorten(
  queued: QueuedInput,
  blobs: Blobs,
  onError: (error: unknown) => void,
): Promise<QueuedInput> {
  const member = queued.outcome === undefined ? "rollbackOutcome" : "outcome"
  const text = queued[member] ?? ""
  const blob = await blobs.put(Buffer.from(text)).catch((error: unknown): undefined => {
    onError(error)
  })
  const short = shortOutcome(JSON.parse(text) as Outcome)
  return { ...queued, [member]: JSON.stringify({ ...short, ...(blob && { kept: blob }) }), ...(blob && { blob }) }
}

/** Every output cut to its head and tail; with many steps each keeps less. */
function shortOutcome(outcome: Outcome): Outcome {
  const steps = "steps" in outcome ? outcome.steps : outcome.undone
  const share = Math.floor(outcomeLengthMax / 4 / Math.max(1, steps.length))
  const length = Math.max(streamKeptLengthMin, Math.min(streamKeptLength, share))
  const short = steps.map((step) => shortStep(step, length))
  return "steps" in outcome ? { ...outcome, steps: short } : { ...outcome, undone: short }
}

function shortStep(step: StepResult, length: number): StepResult {
  const { stdout, stderr } = step
  return {
    ...step,
    ...(stdout && { stdout: shortOutput(stdout, length) }),
    ...(stderr && { stderr: shortOutput(stderr, length) }),
  }
}

function shortOutput(output: NonNullable<StepResult["stdout"]>, length: number): NonNullable<StepResult["stdout"]> {
  const { head, tail } = output
  if (head.length + tail.length <= length) return output
  const half = Math.floor(length / 2)
  const end = tail === "" ? head : tail
  return { ...output, head: head.slice(0, half).toWellFormed(), tail: end.slice(-half).toWellFormed(), truncated: true }
}

export interface OutputPart {
  readonly step: number
  readonly name: string
  readonly stream: "stdout" | "stderr"
  readonly text: string
}

/** All that an outcome has of what its steps wrote, in order. */
export function outputsOf(outcome: Outcome): OutputPart[] {
  const steps = "steps" in outcome ? outcome.steps : outcome.undone
  return steps.flatMap((result, step) =>
    (["stdout", "stderr"] as const).flatMap((stream) => {
      const output = result[stream]
      if (!output || output.bytes === 0) return []
      const cut = output.truncated ? `\n… (${output.bytes} bytes in all, the middle was not kept)\n` : ""
      return [{ step, name: result.name, stream, text: `${output.head}${cut}${output.tail}` }]
    }),
  )
}
