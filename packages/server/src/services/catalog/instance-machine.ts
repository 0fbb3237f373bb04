/**
 * The life of a launched product. Pure.
 *
 *     requested --claim--> provisioning --succeed--> available <--succeed-- updating <--update-- update-failed
 *         |                   |     |                 |  ^  '----update------^  '-------fail-------^    |
 *        end                 fail  end               end |                      |                       |
 *         v                   v     v                 v                        end                     end
 *       ended              failed   '------------> ending <---------------------'-----------------------'
 *                                                  |    ^ \
 *                                              succeed  end fail
 *                                                  v    |   v
 *                                                ended  end-failed
 *
 * `failed` and `ended` are terminal: nothing of the instance is left. Ending takes over from whatever is being done.
 */
import type { instanceStates } from "@signalbox/contracts/catalog/instances"

export type InstanceState = (typeof instanceStates)[number]
export type InstanceEvent = "claim" | "succeed" | "fail" | "update" | "end"
export type OrderKind = "provision" | "update" | "end"

const transitions: Readonly<Record<InstanceState, Readonly<Partial<Record<InstanceEvent, InstanceState>>>>> = {
  requested: { claim: "provisioning", end: "ended" },
  provisioning: { claim: "provisioning", succeed: "available", fail: "failed", end: "ending" },
  available: { update: "updating", end: "ending" },
  updating: { claim: "updating", succeed: "available", fail: "update-failed", end: "ending" },
  "update-failed": { update: "updating", end: "ending" },
  ending: { claim: "ending", succeed: "ended", fail: "end-failed" },
  "end-failed": { end: "ending" },
  failed: {},
  ended: {},
}

/** The state after the event; undefined where it can't happen in this state. */
export function nextState(state: InstanceState, event: InstanceEvent): InstanceState | undefined {
  return transitions[state][event]
}

export function isTerminal(state: InstanceState): boolean {
  return state === "failed" || state === "ended"
}
