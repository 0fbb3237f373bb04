import { AppError, isAppError } from "@signalbox/kernel/app-error"
import type { MergePolicy } from "./routing-map.ts"

/**
 * One operation at several places at once (R4). `all`: every place answers, or the call fails and says who did not.
 * `best-effort`: what answers counts, and the reply says who did not. `first`: the first good answer, and the others
 * are let go.
 */
export interface FanOutPlace {
  /** As the map names it: `approvals@east`. */
  readonly name: string
  /** Asks it; `cursor` is its own, where the call goes on with a list. */
  readonly ask: (signal: AbortSignal, cursor: string | undefined) => Promise<unknown>
}

export interface PartialFailure {
  readonly place: string
  readonly code: string
  readonly message: string
}

export interface FanOutReply {
  readonly value: unknown
  /** Who did not answer, where that is not the end of the call. */
  readonly partial?: readonly PartialFailure[]
}

/** @throws routing.fan-out-failed, request.invalid-cursor, and what a single place refuses every call with */
export async function fanOut(
  places: readonly FanOutPlace[],
  call: { readonly merge: MergePolicy; readonly cursor: string | undefined; readonly signal: AbortSignal },
): Promise<FanOutReply> {
  if (call.merge === "first") return { value: await firstOf(places, call) }
  const cursors = call.cursor === undefined ? undefined : readCursors(call.cursor, places)
  const asked = places.filter(({ name }) => cursors === undefined || cursors[name] !== undefined)
  const ended = await Promise.allSettled(asked.map(({ name, ask }) => ask(call.signal, cursors?.[name])))
  call.signal.throwIfAborted()
  const answers = ended.flatMap((end, at) =>
    end.status === "fulfilled" ? [{ place: asked[at]?.name ?? "", value: end.value }] : [],
  )
  const failures = ended.flatMap((end, at) =>
    end.status === "rejected" ? [failureOf(asked[at]?.name ?? "", end.reason)] : [],
  )
  if (answers.length === 0 || (call.merge === "all" && failures.length > 0)) throw failed(answers, failures, ended)
  return { value: mergeAnswers(answers), ...(failures.length > 0 ? { partial: failures } : {}) }
}

async function firstOf(
  places: readonly FanOutPlace[],
  call: { readonly cursor: string | undefined; readonly signal: AbortSignal },
): Promise<unknown> {
  const enough = new AbortController()
  const signal = AbortSignal.any([call.signal, enough.signal])
  const asked = places.map(({ ask }) => ask(signal, call.cursor))
  try {
    return await Promise.any(asked)
  } catch {
    call.signal.throwIfAborted()
    const ended = await Promise.allSettled(asked)
    const failures = ended.flatMap((end, at) =>
      end.status === "rejected" ? [failureOf(places[at]?.name ?? "", end.reason)] : [],
    )
    throw failed([], failures, ended)
  } finally {
    enough.abort()
  }
}

function failureOf(place: string, reason: unknown): PartialFailure {
  if (isAppError(reason)) return { place, code: reason.code, message: reason.message }
  return { place, code: "request.internal", message: "the call failed inside Signalbox" }
}

/** Where every place refuses the call alike, that is the answer: a 404 of all is a 404. */
function failed(
  answers: ReadonlyArray<{ readonly place: string }>,
  failures: readonly PartialFailure[],
  ended: ReadonlyArray<PromiseSettledResult<unknown>>,
): unknown {
  const codes = new Set(failures.map(({ code }) => code))
  const [first] = ended
  if (answers.length === 0 && codes.size === 1 && first?.status === "rejected") return first.reason
  const told = failures.map(({ place, code }) => `${place} (${code})`).join(", ")
  const answered = answers.map(({ place }) => place)
  return new AppError("routing.fan-out-failed", `not every place carried the call out: ${told}`, {
    details: { failures: [...failures], answered },
  })
}

type Entries = Readonly<Record<string, unknown>>

/** Lists are joined in the order of the places; of everything else the first place's word counts. */
export function mergeAnswers(answers: ReadonlyArray<{ readonly place: string; readonly value: unknown }>): unknown {
  const [first] = answers
  if (!first || !isEntries(first.value)) return first?.value
  const merged: Record<string, unknown> = { ...first.value }
  for (const { value } of answers.slice(1)) {
    if (!isEntries(value)) continue
    for (const [member, more] of Object.entries(value)) {
      const have = merged[member]
      if (Array.isArray(have) && Array.isArray(more)) merged[member] = [...(have as unknown[]), ...(more as unknown[])]
      else if (have === undefined) merged[member] = more
    }
  }
  const cursors = answers.flatMap(({ place, value }) => {
    const next = isEntries(value) ? value["nextCursor"] : undefined
    return typeof next === "string" ? [[place, next] as const] : []
  })
  if (cursors.length > 0) merged["nextCursor"] = writeCursors(Object.fromEntries(cursors))
  return merged
}

const isEntries = (value: unknown): value is Entries =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const cursorMark = "several."

const writeCursors = (cursors: Readonly<Record<string, string>>): string =>
  `${cursorMark}${Buffer.from(JSON.stringify(cursors)).toString("base64url")}`

/** The cursors of the places that have more; each goes on with its own. @throws request.invalid-cursor */
function readCursors(cursor: string, places: readonly FanOutPlace[]): Readonly<Record<string, string>> {
  try {
    if (!cursor.startsWith(cursorMark)) throw new Error("no cursor of several places")
    const read: unknown = JSON.parse(Buffer.from(cursor.slice(cursorMark.length), "base64url").toString("utf8"))
    if (!isEntries(read)) throw new Error("no entries")
    const known = Object.entries(read).filter(([name]) => places.some((place) => place.name === name))
    if (known.length === 0 || known.some(([, each]) => typeof each !== "string")) throw new Error("other places")
    return Object.fromEntries(known) as Record<string, string>
  } catch (cause) {
    throw new AppError("request.invalid-cursor", "the cursor is not one of a list from these places", { cause })
  }
}
