import { inHand, recipientsOf, waitingSeats } from "./draft.ts"
import type { Recipient, RequestState } from "./types.ts"

/** Who has to answer now, and since when; the requester while a question is open is not among them. */
export interface Waits {
  /** From 1; 0 where no level is open. */
  readonly level: number
  readonly since: number
  readonly who: readonly Recipient[]
}

/** Members whose vote is missing at the open level, and those who answer in their place. */
export function listWaits(state: RequestState): Waits {
  if (state.state !== "open" && state.state !== "asking") return { level: 0, since: state.submittedAt, who: [] }
  const { number, level } = inHand({ state })
  return { level: number, since: level.openedAt ?? state.submittedAt, who: recipientsOf(waitingSeats(level.seats)) }
}
