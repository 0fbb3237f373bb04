/**
 * What happens to signals while no sample comes: nodes that go, nodes that are told nothing of any more, silences that
 * end. What is due stands in rows, so every server may look; of two that find the same one writes.
 */
import { nodesGet } from "@signalbox/contracts/fleet/operations"
import { hasCode } from "@signalbox/kernel/app-error"
import { newId } from "@signalbox/kernel/id"
import type { CronTask } from "../../storage/background-queue.ts"
import type { Consumer } from "../../storage/dispatcher.ts"
import { Poller } from "../../storage/poller.ts"
import { removalTask } from "../../storage/removal-task.ts"
import type { TriggersOptions } from "./options.ts"
import type { SignalDirectory } from "./signal-directory.ts"
import { isRaised } from "./signal-machine.ts"
import type { SignalWatcher } from "./signal-watcher.ts"
import {
  expectMissing,
  forgetMissing,
  listMissingDue,
  listSilenced,
  readStates,
  removeStates,
  type StateRow,
} from "./state-store.ts"
import { type ChangeReason, type StateWriter } from "./state-writer.ts"

export interface SignalParts {
  readonly options: TriggersOptions
  readonly directory: SignalDirectory
  readonly writer: StateWriter
  readonly watcher: SignalWatcher
}

/** Told between servers: a node whose tags may be others now. */
export const nodeTagsChannel = "signalbox_node_tags"

const scanMilliseconds = 5_000
/** Tags of all connected nodes are read anew every so many scans. */
const looksPerReading = 60
const rowsPerPage = 500
const pagesMax = 40
const silencesKeptMilliseconds = 90 * 86_400_000

export function signalClock(parts: SignalParts): Poller {
  const { options, watcher } = parts
  let looks = 0
  return new Poller({
    everyMilliseconds: options.scanMilliseconds ?? scanMilliseconds,
    async look(isStopped) {
      // Other servers tell of tags that were changed; what was not heard is found by this.
      if (++looks % looksPerReading === 0) watcher.lookAtAll()
      watcher.lookAgain()
      watcher.checkMissing()
      await fireMissing(parts)
      await resumeSilenced(parts, isStopped)
    },
    onError: (error) => options.logger.warn({ err: error }, "looking after signals failed; it is tried again"),
  })
}

/** Of nodes that are gone for as long as their signals allow. The event that said so may be older than their return. */
async function fireMissing({ options, directory, writer }: SignalParts): Promise<void> {
  const { database, clock } = options
  const due = await listMissingDue(database, clock.now(), rowsPerPage)
  for (const [nodeId, rows] of Map.groupBy(due, (row) => row.nodeId)) {
    const [first] = rows
    if (!first) continue
    const state = await stateOfNode(options, first)
    if (state === "removed") {
      await removeAll({ options, writer }, { field: "node_id", account: first.account, id: nodeId }, "node-removed")
    } else if (state === "online") {
      await forgetMissing(database, nodeId)
    } else {
      const changes = rows.flatMap((from) => {
        const as = directory.find(from.account, from.signalId)?.spec.missing.as ?? "keep"
        if (as === "keep" || as === from.state) return []
        return [{ from, to: { state: as, since: clock.now(), value: null }, reason: "missing" as const }]
      })
      await writer.write(changes)
      await forgetMissing(database, nodeId)
    }
  }
}

async function stateOfNode(
  { operations, clock, random }: TriggersOptions,
  { account, nodeId }: StateRow,
): Promise<"online" | "offline" | "removed"> {
  const cause = newId("request", clock, random)
  const as = { account, service: "triggers", roles: ["viewer"], cause, depth: 0 } as const
  try {
    const { state } = await operations.call(nodesGet, { node: nodeId }, as)
    return state === "online" ? "online" : "offline"
  } catch (error) {
    if (hasCode(error, "fleet.node-not-found")) return "removed"
    throw error
  }
}

/** Whatever kept a signal quiet may be over; it is told then, if it is still raised. */
async function resumeSilenced({ options, directory, writer }: SignalParts, isStopped: () => boolean): Promise<void> {
  let after: readonly [string, string] = ["", ""]
  for (let page = 0; page < pagesMax && !isStopped(); page++) {
    const rows = await listSilenced(options.database, { after, limit: rowsPerPage })
    const over: StateRow[] = []
    for (const row of rows) {
      if (!directory.find(row.account, row.signalId) || !isRaised(row.state)) continue
      if ((await writer.findSilenced(options.database, row)) === null) over.push(row)
    }
    if (over.length > 0) await writer.write(over.map((from) => ({ from, to: from, reason: "silence-ended" as const })))
    const last = rows.at(-1)
    if (rows.length < rowsPerPage || !last) return
    after = [last.nodeId, last.signalId]
  }
}

const nodeEvents = ["node.updated", "node.disconnected", "node.removed"]

/** Follows nodes, where any account has a signal. */
export function nodesConsumer(parts: SignalParts): Consumer {
  const { options, directory } = parts
  return {
    name: "triggers.nodes",
    types: async (sql) => ((await sql.query("select 1 from signals limit 1")).length > 0 ? nodeEvents : []),
    eventsPerJobMax: 100,
    async handle({ type, account, subject: nodeId, time }) {
      if (type === "node.updated") {
        options.notifier.notify(nodeTagsChannel, nodeId)
        return
      }
      if (type === "node.removed") return removeAll(parts, { field: "node_id", account, id: nodeId }, "node-removed")
      for (const row of await readStates(options.database, [nodeId])) {
        const signal = directory.find(account, row.signalId)
        const as = signal?.spec.missing.as ?? "keep"
        if (!signal || as === "keep" || as === row.state) continue
        await expectMissing(options.database, { nodeId, signalId: row.signalId, dueAt: time + signal.missingAfterMs })
      }
    },
  }
}

/** What is left of a signal that was removed. */
export function signalsConsumer(parts: Pick<SignalParts, "options" | "writer">): Consumer {
  return {
    name: "triggers.signals",
    types: ["signal.removed"],
    handle: ({ account, subject: id }) => removeAll(parts, { field: "signal_id", account, id }, "signal-removed"),
  }
}

async function removeAll(
  { options, writer }: Pick<SignalParts, "options" | "writer">,
  of: { readonly field: "node_id" | "signal_id"; readonly account: string; readonly id: string },
  reason: ChangeReason,
): Promise<void> {
  let removed: number
  do {
    removed = await options.database.transaction(async (tx) => {
      const rows = await removeStates(tx, { ...of, limit: rowsPerPage })
      await writer.tellRemoved(tx, rows, reason)
      return rows.length
    })
  } while (removed === rowsPerPage)
}

export function signalTasks(now: () => number): CronTask[] {
  return [
    removalTask({
      name: "triggers.silences-retention",
      cron: "47 * * * *",
      now,
      keptMilliseconds: silencesKeptMilliseconds,
      statement: `delete from silences where (account, name) in (
        select account, name from silences where (spec ->> 'until')::float8 < $1 limit $2) returning 1`,
    }),
    // A state that was written while its signal was being removed.
    removalTask({
      name: "triggers.states-retention",
      cron: "51 * * * *",
      now,
      keptMilliseconds: 3_600_000,
      statement: `delete from signal_states where (node_id, signal_id) in (
        select s.node_id, s.signal_id from signal_states s
        where s.since < to_timestamp($1::float8 / 1000) and not exists (
          select 1 from signals d where d.account = s.account and d.id = s.signal_id) limit $2) returning 1`,
    }),
  ]
}
