/**
 * The states of one signal on one node. Pure.
 *
 *                     raises                held long enough
 *      unknown ----------------> pending ----------------> raised
 *         |                       ^   |                     |  ^
 *         | clears, between       |   | clears, between     |  | raises, between
 *         v                       |   v              clears v  |
 *       clear --------------------+---+                 clearing
 *         ^          raises                                 |
 *         +-------------------------------------------------+
 *                           held long enough
 *
 * `raises` and `clears`: the value is beyond that threshold; `between` is the hysteresis. Where nothing has to hold,
 * pending and clearing are passed over. `missing` comes once, when nothing was told for as long as the signal allows.
 */
export type SignalState = "unknown" | "clear" | "pending" | "raised" | "clearing"

export type SignalInput =
  | { readonly type: "raises" | "between" | "clears" }
  | { readonly type: "missing"; readonly as: "keep" | "unknown" | "raised" | "clear" }

export interface SignalThreshold {
  readonly above?: number
  readonly below?: number
  /** Milliseconds that it must hold. */
  readonly holdMs: number
}

export interface SignalRule {
  readonly raise: SignalThreshold
  readonly clear: SignalThreshold
}

export interface SignalPosition {
  readonly state: SignalState
  /** When this state began, in milliseconds. */
  readonly since: number
}

/** Which thresholds a value is beyond. */
export function classify({ raise, clear }: SignalRule, value: number): SignalInput {
  if (isBeyond(raise, value)) return { type: "raises" }
  return { type: isBeyond(clear, value) ? "clears" : "between" }
}

function isBeyond({ above, below }: SignalThreshold, value: number): boolean {
  return (above !== undefined && value > above) || (below !== undefined && value < below)
}

/** The next position; the same object where nothing changes. `since` stays from pending to raised's own beginning. */
export function advance(
  position: SignalPosition,
  input: SignalInput,
  { rule, now }: { readonly rule: SignalRule; readonly now: number },
): SignalPosition {
  const next = nextState(position, input, { rule, now })
  return next === position.state ? position : { state: next, since: now }
}

function nextState(
  { state, since }: SignalPosition,
  input: SignalInput,
  { rule, now }: { readonly rule: SignalRule; readonly now: number },
): SignalState {
  const held = now - since
  const raising = (): SignalState => (rule.raise.holdMs === 0 ? "raised" : "pending")
  const falling = (): SignalState => (rule.clear.holdMs === 0 ? "clear" : "clearing")
  switch (input.type) {
    case "missing":
      return input.as === "keep" ? state : input.as
    case "raises":
      if (state === "unknown" || state === "clear") return raising()
      if (state === "pending") return held >= rule.raise.holdMs ? "raised" : "pending"
      return "raised"
    case "between":
      return isRaised(state) ? "raised" : "clear"
    case "clears":
      if (state === "raised") return falling()
      if (state === "clearing") return held >= rule.clear.holdMs ? "clear" : "clearing"
      return "clear"
  }
}

/** Raised, as everybody outside sees it. */
export function isRaised(state: SignalState): boolean {
  return state === "raised" || state === "clearing"
}

/** What is told of a change of state; nothing where it is of no concern outside. */
export function eventOf(from: SignalState, to: SignalState): "signal.raised" | "signal.cleared" | undefined {
  if (isRaised(from) === isRaised(to)) return undefined
  return isRaised(to) ? "signal.raised" : "signal.cleared"
}
