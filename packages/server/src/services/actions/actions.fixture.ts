/** Actions on a whole server with a database of its own, with rules as their service publishes them. */
import { actionsList } from "@signalbox/contracts/actions/operations"
import { rulesPut, rulesRemove } from "@signalbox/contracts/rules/operations"
import { newId } from "@signalbox/kernel/id"
import type { z } from "zod"
import type { ServerFixtureOptions } from "../../http/edge.fixture.ts"
import { appendEvents } from "../../storage/outbox.ts"
import { systemClock, systemRandom } from "../../system.ts"
import { startApprovals, untilTrue, type ApprovalsFixture } from "../approvals/approvals.fixture.ts"
import type { ActionRun } from "./wire.ts"

export type RuleInput = Omit<z.input<typeof rulesPut.input>, "name">

export interface ActionsFixture extends ApprovalsFixture {
  /** Publishes a rule in the name of an administrator of account `main`, or of whoever has this key. */
  rule(name: string, definition: RuleInput, key?: string): Promise<void>
  removeRule(name: string): Promise<void>
  /** Writes events as a service does, one for each name, in one transaction; gives their ids. */
  tell(type: string, names: readonly string[], more?: { depth?: number; data?: object }): Promise<string[]>
  /** The runs of a rule, the oldest first, once there are so many in one of these states. */
  runs(rule: string, wanted: { readonly count: number; readonly states?: readonly string[] }): Promise<ActionRun[]>
}

export async function startActions(options: ServerFixtureOptions = {}): Promise<ActionsFixture> {
  const approvals = await startApprovals(options)
  const author = await approvals.key("author", ["admin"])
  return {
    ...approvals,
    async rule(name, definition, key = author.key) {
      await approvals.call(key, rulesPut, { name, ...definition })
    },
    async removeRule(name) {
      await approvals.call(author.key, rulesRemove, { name })
    },
    async tell(type, names, { depth = 0, data = {} } = {}) {
      const events = names.map((name) => {
        const id = newId("event", systemClock, systemRandom)
        const about = { account: "main", aggregateId: name, type, subject: name, subjectVersion: 1 }
        return { ...about, id, cause: id, causedBy: id, depth, principal: "system:test", data: { ...data, name } }
      })
      await approvals.server.test.database.transaction((tx) => appendEvents(tx, events))
      return events.map(({ id }) => id)
    },
    async runs(rule, { count, states }) {
      let found: ActionRun[] = []
      await untilTrue(async () => {
        const { items } = await approvals.call(approvals.admin, actionsList, { rule, limit: 1_000 })
        found = items.toReversed()
        return found.filter(({ state }) => states?.includes(state) ?? true).length >= count
      })
      return found
    },
  }
}
