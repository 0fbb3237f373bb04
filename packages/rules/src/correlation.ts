/**
 * Correlation: a rule that fires because of several events of one group. Pure: the caller keeps the state of each group,
 * gives each event once with the members of the rule that it is, and calls again at `dueAt`. Instants are milliseconds
 * since 1970.
 *
 *   all    idle --event--> collecting --the last member within the time: fire--> idle
 *   any    idle --event: fire--> fired --event within the time: suppress--> fired --event later: fire--> fired
 *   none   idle --after--> awaiting --none--> satisfied --after--> awaiting
 *                          awaiting --due: fire--> idle
 *
 * `none` fires once where an event of `after` was not followed by one of `none` within the time. Events may come out of
 * order: a `none` that was heard of before the `after` that it followed counts all the same.
 */
export interface Correlation {
  readonly kind: "all" | "any" | "none"
  /** Of `all`: how many members it has. */
  readonly membersCount: number
  readonly withinMilliseconds: number
}

export type CorrelationState =
  | { readonly kind: "idle" }
  /** When each member was seen last; null where it was not. At least one was, and at least one was not. */
  | { readonly kind: "collecting"; readonly seen: ReadonlyArray<number | null> }
  | { readonly kind: "fired"; readonly firedAt: number; readonly suppressedCount: number }
  /** The first and the last `after` that nothing followed yet, and when each has waited for long enough. */
  | { readonly kind: "awaiting"; readonly first: Awaited; readonly last: Awaited }
  | { readonly kind: "satisfied"; readonly at: number }

interface Awaited {
  readonly at: number
  readonly dueAt: number
}

export type MemberList = "all" | "any" | "none" | "after"

export type CorrelationInput =
  | {
      readonly type: "event"
      readonly at: number
      readonly members: ReadonlyArray<{ readonly list: MemberList; readonly index: number }>
    }
  | { readonly type: "time" }

export interface CorrelationStep {
  readonly state: CorrelationState
  readonly decision: "fire" | "suppress" | "wait" | "nothing"
  /** When to come again with `time`. */
  readonly dueAt?: number
  /** From then on the state means nothing any more, and may be forgotten. */
  readonly expiresAt?: number
}

const idleState: CorrelationState = { kind: "idle" }

/** What an event, or the passing of time, does to one group. A state that another kind of rule left behind is idle. */
export function stepCorrelation(
  correlation: Correlation,
  { state, input }: { readonly state: CorrelationState; readonly input: CorrelationInput },
  now: number,
): CorrelationStep {
  switch (correlation.kind) {
    case "all":
      return stepAll(correlation, state.kind === "collecting" ? state.seen : [], input)
    case "any":
      return stepAny(correlation.withinMilliseconds, state.kind === "fired" ? state : undefined, input)
    case "none":
      return stepNone(correlation.withinMilliseconds, state, { input, now })
  }
}

function stepAll(
  { membersCount, withinMilliseconds: within }: Correlation,
  before: ReadonlyArray<number | null>,
  input: CorrelationInput,
): CorrelationStep {
  const all = Array.from({ length: membersCount }, (_, index) => latest(before[index], input, index))
  const newest = Math.max(...all.map((time) => time ?? Number.NEGATIVE_INFINITY))
  if (newest === Number.NEGATIVE_INFINITY) return { state: idleState, decision: "nothing" }
  const seen = all.map((time) => (time !== null && time >= newest - within ? time : null))
  const expiresAt = newest + within
  if (input.type === "time") return { state: { kind: "collecting", seen }, decision: "nothing", expiresAt }
  if (seen.every((time) => time !== null)) return { state: idleState, decision: "fire" }
  return { state: { kind: "collecting", seen }, decision: "wait", expiresAt }
}

function latest(before: number | null | undefined, input: CorrelationInput, index: number): number | null {
  if (input.type === "time" || !input.members.some((member) => member.index === index)) return before ?? null
  return Math.max(before ?? input.at, input.at)
}

function stepAny(
  within: number,
  state: Extract<CorrelationState, { readonly kind: "fired" }> | undefined,
  input: CorrelationInput,
): CorrelationStep {
  if (input.type === "time") {
    if (!state) return { state: idleState, decision: "nothing" }
    return { state, decision: "nothing", expiresAt: state.firedAt + within }
  }
  if (state && input.at - state.firedAt < within) {
    const suppressed: CorrelationState = { ...state, suppressedCount: state.suppressedCount + 1 }
    return { state: suppressed, decision: "suppress", expiresAt: state.firedAt + within }
  }
  const fired: CorrelationState = { kind: "fired", firedAt: input.at, suppressedCount: 0 }
  return { state: fired, decision: "fire", expiresAt: input.at + within }
}

function stepNone(
  within: number,
  state: CorrelationState,
  { input, now }: { readonly input: CorrelationInput; readonly now: number },
): CorrelationStep {
  if (input.type === "time") {
    if (state.kind === "awaiting" && now >= state.first.dueAt) return { state: idleState, decision: "fire" }
    return stay(state, within, "nothing")
  }
  const isAfter = input.members.some(({ list }) => list === "after")
  const isNone = input.members.some(({ list }) => list === "none")
  const settled = isNone ? settle(state, input.at) : state
  if (!isAfter) return stay(settled, within, "wait")
  if (!isNone && settled.kind === "satisfied" && input.at <= settled.at) return stay(settled, within, "suppress")
  // Counted from when it was heard of: a reader that is behind must not take its own delay for silence.
  const awaited = { at: input.at, dueAt: Math.max(input.at, now) + within }
  if (settled.kind !== "awaiting") return stay({ kind: "awaiting", first: awaited, last: awaited }, within, "wait")
  const first = awaited.at < settled.first.at ? { ...settled.first, at: awaited.at } : settled.first
  const last = awaited.at > settled.last.at ? awaited : settled.last
  return stay({ kind: "awaiting", first, last }, within, "wait")
}

/** What an event of `none` leaves of those that waited for it. */
function settle(state: CorrelationState, at: number): CorrelationState {
  if (state.kind === "satisfied") return { kind: "satisfied", at: Math.max(state.at, at) }
  if (state.kind !== "awaiting") return { kind: "satisfied", at }
  // Before them all, or too late for the first: that one fires.
  if (at < state.first.at || at > state.first.dueAt) return state
  return at >= state.last.at ? { kind: "satisfied", at } : { ...state, first: state.last }
}

function stay(state: CorrelationState, within: number, decision: CorrelationStep["decision"]): CorrelationStep {
  if (state.kind === "awaiting") return { state, decision, dueAt: state.first.dueAt }
  if (state.kind === "satisfied") return { state, decision, expiresAt: state.at + within }
  return { state: idleState, decision }
}
