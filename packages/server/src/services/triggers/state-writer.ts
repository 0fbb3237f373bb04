/**
 * Writes changes of state with their events, all that wait in one transaction. Every change of every signal goes through
 * here: whether its raising is kept quiet is decided here, and which events are told.
 */
import { toInstant } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { Sql, Tx } from "../../storage/database.ts"
import { appendEvents, type NewEvent } from "../../storage/outbox.ts"
import { outboxChannel } from "../../storage/dispatcher.ts"
import type { TriggersOptions } from "./options.ts"
import { equalLabels, findSilence, inhibitorsOf, type Silenced } from "./quiet.ts"
import type { SignalDirectory } from "./signal-directory.ts"
import { eventOf, isRaised } from "./signal-machine.ts"
import type { CompiledSignal } from "./signal-spec.ts"
import { isRaisedWith, writeStates, type StateRow } from "./state-store.ts"

/** Why a state is another one now. */
export type ChangeReason = "threshold" | "missing" | "not-watched" | "node-removed" | "signal-removed" | "silence-ended"

export interface StateChange {
  /** What is there; version 0 where nothing is. */
  readonly from: StateRow
  readonly to: Pick<StateRow, "state" | "since" | "value">
  readonly reason: ChangeReason
}

export const raisedEvent = "signal.raised"
export const clearedEvent = "signal.cleared"

export const stateKey = ({ signalId, nodeId }: Pick<StateRow, "signalId" | "nodeId">): string => `${signalId}:${nodeId}`

export class StateWriter {
  readonly #options: TriggersOptions
  readonly #directory: SignalDirectory

  constructor(options: TriggersOptions, directory: SignalDirectory) {
    this.#options = options
    this.#directory = directory
  }

  /** Gives what is there afterwards of those that were written; somebody else changed the rest. */
  async write(changes: readonly StateChange[]): Promise<ReadonlyMap<string, StateRow>> {
    const { database, notifier } = this.#options
    const rows = await database.transaction(async (tx) => {
      const wanted: Array<{ change: StateChange; row: StateRow }> = []
      // One statement can't write a row twice: of two changes of one state the second finds another version.
      for (const change of new Map(changes.toReversed().map((each) => [stateKey(each.from), each])).values())
        wanted.push({ change, row: await this.#rowAfter(tx, change) })
      const written = await writeStates(
        tx,
        wanted.map(({ row }) => row),
      )
      const done = wanted.filter(({ row }) => written.has(stateKey(row)))
      await appendEvents(
        tx,
        done.flatMap(({ change, row }) => this.#eventsOf(change, row)),
      )
      return done.map(({ row }) => row)
    })
    notifier.notify(outboxChannel)
    return new Map(rows.map((row) => [stateKey(row), row]))
  }

  /** Tells of raised states that are no more, in the transaction that removed them. */
  async tellRemoved(tx: Tx, rows: readonly StateRow[], reason: ChangeReason): Promise<void> {
    const now = this.#options.clock.now()
    const events = rows.flatMap((from) => {
      const row: StateRow = { ...from, state: "unknown", since: now, version: from.version + 1 }
      return this.#eventsOf({ from, to: row, reason }, row)
    })
    await appendEvents(tx, events)
  }

  async #rowAfter(tx: Tx, { from, to, reason }: StateChange): Promise<StateRow> {
    const beginsRaised = isRaised(to.state) && (!isRaised(from.state) || reason === "silence-ended")
    const silenced = beginsRaised ? await this.findSilenced(tx, from) : isRaised(to.state) ? from.silenced : null
    return { ...from, ...to, silenced, version: from.version + 1 }
  }

  /** What keeps a raised signal quiet now. */
  async findSilenced(sql: Sql, { account, signal, labels }: StateRow): Promise<Silenced | null> {
    const now = this.#options.clock.now()
    const silence = findSilence(this.#directory.silences(account), { signal, labels, now })
    if (silence) return { by: "silence", name: silence.name }
    for (const inhibitor of inhibitorsOf(this.#directory.inhibitors(account), signal)) {
      const wanted = { account, signal: inhibitor.name, labels: equalLabels(inhibitor, labels) }
      if (await isRaisedWith(sql, wanted)) return { by: "signal", name: inhibitor.name }
    }
    return null
  }

  #eventsOf({ from, reason }: StateChange, row: StateRow): NewEvent[] {
    const isResumed = reason === "silence-ended" && row.silenced === null
    const type = isResumed ? raisedEvent : eventOf(from.state, row.state)
    if (type === undefined) return []
    const { clock, random } = this.#options
    const id = newId("event", clock, random)
    const silenced = row.silenced ?? (type === clearedEvent ? from.silenced : null)
    const signal = this.#directory.find(row.account, row.signalId)
    const data = {
      signal: row.signal,
      node: row.node,
      nodeId: row.nodeId,
      labels: row.labels,
      value: row.value,
      threshold: thresholdOf(signal, type),
      since: toInstant(row.since),
      reason,
      ...(silenced === null ? {} : { silenced }),
    }
    const subject = stateKey(row)
    return [
      {
        ...{ id, account: row.account, aggregateId: row.nodeId, type, subject, subjectVersion: row.version, data },
        // Nobody asked for it: the story begins here.
        ...{ cause: id, causedBy: id, depth: 0, principal: "system:triggers" },
      },
    ]
  }
}

function thresholdOf(signal: CompiledSignal | undefined, type: string): number | null {
  if (!signal) return null
  const { above, below } = type === raisedEvent ? signal.rule.raise : signal.rule.clear
  return above ?? below ?? null
}
