import { instanceStates } from "@signalbox/contracts/catalog/instances"
import { expect, test } from "vitest"
import { isTerminal, nextState, type InstanceEvent, type InstanceState } from "./instance-machine.ts"

type Expected = InstanceState | "refused"

/** Every state and every event: a new one of either fails to compile until its cells are filled. */
const table: Record<InstanceState, Record<InstanceEvent, Expected>> = {
  requested: { claim: "provisioning", succeed: "refused", fail: "refused", update: "refused", end: "ended" },
  provisioning: { claim: "provisioning", succeed: "available", fail: "failed", update: "refused", end: "ending" },
  available: { claim: "refused", succeed: "refused", fail: "refused", update: "updating", end: "ending" },
  updating: { claim: "updating", succeed: "available", fail: "update-failed", update: "refused", end: "ending" },
  "update-failed": { claim: "refused", succeed: "refused", fail: "refused", update: "updating", end: "ending" },
  ending: { claim: "ending", succeed: "ended", fail: "end-failed", update: "refused", end: "refused" },
  "end-failed": { claim: "refused", succeed: "refused", fail: "refused", update: "refused", end: "ending" },
  failed: { claim: "refused", succeed: "refused", fail: "refused", update: "refused", end: "refused" },
  ended: { claim: "refused", succeed: "refused", fail: "refused", update: "refused", end: "refused" },
}
const events: readonly InstanceEvent[] = ["claim", "succeed", "fail", "update", "end"]
const cells = instanceStates.flatMap((state) => events.map((event) => [state, event] as const))

test.each(cells)("A13: an instance that is %s, and %s", (state, event) => {
  expect(nextState(state, event) ?? "refused").toBe(table[state][event])
})

test("A13: a terminal state never changes, and from every other one the end can be reached", () => {
  for (const state of instanceStates) {
    const reached = new Set<InstanceState>([state])
    for (const from of reached)
      for (const event of events) {
        const to = nextState(from, event)
        if (to !== undefined) reached.add(to)
      }
    if (isTerminal(state)) expect([...reached]).toEqual([state])
    else expect(reached).toContain("ended")
  }
})
