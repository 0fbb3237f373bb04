import type { EngineState } from "../types.ts"

export const show = (value: unknown): string => JSON.stringify(value) ?? ""

function sortedSlots({ slots }: EngineState): Array<ReturnType<EngineState["slots"]["get"]>> {
  return [...slots.values()].toSorted((a, b) => a.ordinal - b.ordinal)
}

/** All of a state but its plan, as a text for comparison. */
export function showState(state: EngineState): string {
  return show([{ ...state, plan: null, slots: null, domains: null }, sortedSlots(state)])
}

/** The durable part of a state, as a text for comparison. */
export function showDurable(state: EngineState): string {
  const { execution, stop, nextOrdinal, counts, rollbacks, classes, width, wave, hold, bakeUntil } = state
  const slots = sortedSlots(state).map((slot) => [slot?.ordinal, slot?.state, slot?.rollback, slot?.attempt])
  const pace = [width, wave, hold, bakeUntil === null]
  const domains = [...new Set(state.plan.domains)].map((domain) => state.domains?.get(domain))
  return show([execution, stop, nextOrdinal, counts, rollbacks, classes, pace, slots, domains])
}
