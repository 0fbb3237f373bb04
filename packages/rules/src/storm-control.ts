/**
 * Storm control: how often the events of one group let a rule fire. Pure: the caller keeps the state of each group, gives
 * each event once, and calls again at `dueAt`. Instants are milliseconds since 1970.
 *
 *   once-within   idle --event: fire--> fired --event within: suppress--> fired
 *                                       fired --event later: fire-------> fired
 *   once-after    idle --event: wait--> waiting --event: wait, later due--> waiting --due: fire--> idle
 *   threshold     idle --event: wait--> counting --the nth within: fire--> idle
 *
 * Events may come out of order: one that is older than the last firing counts as within its time, so that what was
 * suppressed once never fires later.
 */
export type StormLimit =
  | { readonly kind: "once-within"; readonly withinMilliseconds: number }
  | { readonly kind: "once-after"; readonly quietMilliseconds: number }
  | { readonly kind: "threshold"; readonly count: number; readonly withinMilliseconds: number }

export type StormState =
  | { readonly kind: "idle" }
  | { readonly kind: "fired"; readonly firedAt: number; readonly suppressedCount: number }
  | { readonly kind: "waiting"; readonly dueAt: number; readonly heldCount: number }
  /** Ascending; fewer than the threshold's count. */
  | { readonly kind: "counting"; readonly times: readonly number[] }

export type StormInput =
  | { readonly type: "event"; readonly at: number }
  /** Time has passed: nothing happened. */
  | { readonly type: "time" }

export type StormDecision =
  | "fire"
  /** The event starts nothing, now or later. */
  | "suppress"
  /** The event may be the one that fires, later. */
  | "wait"
  | "nothing"

export interface StormStep {
  readonly state: StormState
  readonly decision: StormDecision
  /** When to come again with `time`. */
  readonly dueAt?: number
  /** From then on the state means nothing any more, and may be forgotten. */
  readonly expiresAt?: number
}

/** The most groups of one rule; the one that was quiet for longest goes. */
export const stormGroupsMax = 10_000

export const idle: StormState = { kind: "idle" }

/** What an event, or the passing of time, does to one group. A state that another kind of limit left behind is idle. */
export function stepStorm(
  limit: StormLimit,
  { state, input }: { readonly state: StormState; readonly input: StormInput },
  now: number,
): StormStep {
  switch (limit.kind) {
    case "once-within":
      return stepOnceWithin(limit.withinMilliseconds, state.kind === "fired" ? state : undefined, input)
    case "once-after":
      return stepOnceAfter(limit.quietMilliseconds, state.kind === "waiting" ? state : undefined, { input, now })
    case "threshold":
      return stepThreshold(limit, state.kind === "counting" ? state.times : [], input)
  }
}

type StateOf<Kind extends StormState["kind"]> = Extract<StormState, { readonly kind: Kind }>

function stepOnceWithin(within: number, state: StateOf<"fired"> | undefined, input: StormInput): StormStep {
  if (input.type === "time") return unchanged(state ?? idle, state && state.firedAt + within)
  if (state && input.at - state.firedAt < within) {
    const suppressed: StormState = { ...state, suppressedCount: state.suppressedCount + 1 }
    return { state: suppressed, decision: "suppress", expiresAt: state.firedAt + within }
  }
  const fired: StormState = { kind: "fired", firedAt: input.at, suppressedCount: 0 }
  return { state: fired, decision: "fire", expiresAt: input.at + within }
}

function stepOnceAfter(
  quiet: number,
  state: StateOf<"waiting"> | undefined,
  { input, now }: { readonly input: StormInput; readonly now: number },
): StormStep {
  if (input.type === "event") {
    // Counted from when it was heard of: a reader that is behind must not take its own delay for quiet.
    const dueAt = Math.max(state?.dueAt ?? 0, Math.max(input.at, now) + quiet)
    const waiting: StormState = { kind: "waiting", dueAt, heldCount: (state?.heldCount ?? 0) + 1 }
    return { state: waiting, decision: "wait", dueAt }
  }
  if (!state) return unchanged(idle)
  if (now < state.dueAt) return { state, decision: "nothing", dueAt: state.dueAt }
  return { state: idle, decision: "fire" }
}

function stepThreshold(
  { count, withinMilliseconds: within }: Extract<StormLimit, { readonly kind: "threshold" }>,
  before: readonly number[],
  input: StormInput,
): StormStep {
  const all = input.type === "event" ? [...before, input.at].toSorted((a, b) => a - b) : before
  const newest = all.at(-1)
  if (newest === undefined) return unchanged(idle)
  const times = all.filter((time) => time > newest - within)
  if (times.length >= count) return { state: idle, decision: "fire" }
  const state: StormState = { kind: "counting", times }
  if (input.type === "time") return unchanged(state, newest + within)
  // One that came too late to count with the others.
  const decision = times.includes(input.at) ? "wait" : "suppress"
  return { state, decision, expiresAt: newest + within }
}

function unchanged(state: StormState, expiresAt?: number): StormStep {
  return { state, decision: "nothing", ...(expiresAt === undefined ? {} : { expiresAt }) }
}
