import type { RequestState } from "./types.ts"

/** When a `timer` input is due next, in milliseconds since 1970; null where nothing is waited for. */
export function nextTimerAt(state: RequestState): number | null {
  if (state.state === "unmatched") return state.unmatchedUntil
  if (state.state === "asking") return state.questions.at(-1)?.lapsesAt ?? null
  const timers = state.state === "open" ? state.levels[state.level - 1]?.timers : undefined
  if (!timers) return null
  return Math.min(timers.expiresAt, timers.escalatesAt ?? Infinity, timers.remindsAt ?? Infinity)
}
