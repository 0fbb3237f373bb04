/**
 * A rule's budget: at most so many firings within any stretch of a length. Pure. Firings are counted in slots of a
 * sixtieth of the length, so the state is small; a slot counts until all of it is past, so the budget is never exceeded
 * and may be a sixtieth tighter.
 */
export interface FiringBudget {
  readonly firings: number
  readonly withinMilliseconds: number
}

/** How many firings each slot saw, ascending; the slot's number is its start divided by its length. */
export type BudgetState = ReadonlyArray<readonly [slot: number, count: number]>

export const budgetSlots = 60

/** Takes one firing from the budget, where there is one left. */
export function spendFiring(
  budget: FiringBudget,
  state: BudgetState,
  at: number,
): { readonly state: BudgetState; readonly isAllowed: boolean } {
  const slotMilliseconds = Math.max(1, Math.ceil(budget.withinMilliseconds / budgetSlots))
  const slotsCount = Math.ceil(budget.withinMilliseconds / slotMilliseconds)
  const newest = Math.max(Math.floor(at / slotMilliseconds), state.at(-1)?.[0] ?? 0)
  const kept = state.filter(([slot]) => slot >= newest - slotsCount)
  const spent = kept.reduce((sum, [, count]) => sum + count, 0)
  if (spent >= budget.firings) return { state: kept, isAllowed: false }
  const last = kept.at(-1)
  // One that comes late is counted as if it came now: that is when what it starts is done.
  if (last?.[0] === newest) return { state: [...kept.slice(0, -1), [newest, last[1] + 1]], isAllowed: true }
  return { state: [...kept, [newest, 1]], isAllowed: true }
}
