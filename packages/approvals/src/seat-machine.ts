/**
 * A seat: one member's place in one opened level.
 *
 *                  +--approve--> approved --+
 *   waiting -------+--deny-----> denied   --+--> each of the three to the others; the last vote counts
 *      ^  |        +--abstain--> abstained -+
 *      |  '--remove--------+       |remove
 *      |                   v       v
 *      '-----return------ removed          in none of its groups any more, or disabled; back in one: votes anew
 *
 *   barred                                 the requester, or of the requester's team: for good
 *
 * Votes are void after an edit that doesn't keep them: the level is reset, and pins new seats when it opens.
 */
import type { SeatStateName, VoteChoice } from "./types.ts"

export type SeatEvent = VoteChoice | "remove" | "return"

type Transitions = Readonly<Record<SeatStateName, Readonly<Partial<Record<SeatEvent, SeatStateName>>>>>

const votes = { approve: "approved", deny: "denied", abstain: "abstained" } as const

export const seatTransitions: Transitions = {
  waiting: { ...votes, remove: "removed" },
  approved: { ...votes, remove: "removed" },
  denied: { ...votes, remove: "removed" },
  abstained: { ...votes, remove: "removed" },
  barred: {},
  removed: { return: "waiting" },
}

/** The next state, or undefined where the event is not possible in this state. */
export function nextSeatState(state: SeatStateName, event: SeatEvent): SeatStateName | undefined {
  return seatTransitions[state][event]
}

/** Whether somebody may vote on the seat. */
export function isSeatLive(state: SeatStateName): boolean {
  return state !== "barred" && state !== "removed"
}
