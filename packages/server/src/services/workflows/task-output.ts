/** tasks.output: all that is kept of what a task's steps wrote, page by page. */
import type { RollbackOutcome, TaskOutcome } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError } from "@signalbox/kernel/app-error"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import type { Blobs } from "../../storage/blobs.ts"
import { outputsOf, type OutputPart } from "./long-outcome.ts"
import type { KeptBlob } from "./report-queue.ts"

/** Characters of one page. */
export const outputPageLengthMax = 256 * 1024

export type StoredOutcome = (TaskOutcome | RollbackOutcome) & { readonly kept?: KeptBlob }

export interface OutputPage {
  readonly items: OutputPart[]
  readonly nextCursor?: string
}

/** @throws storage.blob-not-found */
export async function readWhole(outcome: StoredOutcome, blobs: Pick<Blobs, "open">): Promise<StoredOutcome> {
  if (!outcome.kept) return outcome
  const chunks: Buffer[] = []
  for await (const chunk of await blobs.open(outcome.kept.digest)) chunks.push(chunk as Buffer)
  return JSON.parse(Buffer.concat(chunks).toString()) as StoredOutcome
}

/** The part of the outputs that a cursor points at. @throws request.invalid-cursor */
export function pageOutput(outcome: StoredOutcome, cursor: string | undefined): OutputPage {
  const parts = outputsOf(outcome)
  const [part, offset] = cursor === undefined ? [0, 0] : readPlace(cursor)
  const items: OutputPart[] = []
  let left = outputPageLengthMax
  for (let index = part; index < parts.length; index++) {
    const { text, ...rest } = parts[index] as OutputPart
    const from = index === part ? offset : 0
    const slice = text.slice(from, from + left)
    if (slice !== "") items.push({ ...rest, text: slice })
    left -= slice.length
    if (from + slice.length < text.length) return { items, nextCursor: encodeCursor([index, from + slice.length]) }
  }
  return { items }
}

function readPlace(cursor: string): [number, number] {
  const [part, offset] = decodeCursor(cursor, 2)
  if (Number.isInteger(part) && Number.isInteger(offset) && Number(part) >= 0 && Number(offset) >= 0)
    return [Number(part), Number(offset)]
  throw new AppError("request.invalid-cursor", "the cursor is not one of this output")
}
