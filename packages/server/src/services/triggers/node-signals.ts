import { nodesGet } from "@signalbox/contracts/fleet/operations"
import type { OutputOf } from "@signalbox/contracts/operation"
import { nodesSignals } from "@signalbox/contracts/triggers/signals"
import { toInstant } from "@signalbox/kernel/clock"
import { onRead, type Handler, type ReadContext } from "../../router/handler.ts"
import type { TriggersOptions } from "./options.ts"
import type { SignalDirectory } from "./signal-directory.ts"
import type { CompiledSignal } from "./signal-spec.ts"
import type { Sample, SignalWatcher } from "./signal-watcher.ts"
import { readStates, type StateRow } from "./state-store.ts"
import { stateKey } from "./state-writer.ts"

type Item = OutputOf<typeof nodesSignals>["items"][number]

export function nodeSignalsHandler(
  { operations }: Pick<TriggersOptions, "operations">,
  { directory, watcher }: { readonly directory: SignalDirectory; readonly watcher: Pick<SignalWatcher, "latest"> },
): Handler {
  return onRead(nodesSignals, async ({ node: reference }, ctx) => {
    const node = await operations.call(nodesGet, { node: reference }, asOf(ctx))
    const rows = new Map((await readStates(ctx.sql, [node.id])).map((row) => [row.signalId, row]))
    const watching = directory.matching(ctx.account, node.tags)
    return {
      items: watching.map((signal) =>
        toItem(signal, { nodeId: node.id, row: rows.get(signal.id), latest: watcher.latest(node.id, signal.id) }),
      ),
    }
  })
}

const asOf = ({ account, cause, depth }: ReadContext) =>
  ({ account, cause, depth: depth + 1, service: "triggers", roles: ["viewer"] }) as const

function toItem(
  { id, name, spec: { metric, raise, clear } }: CompiledSignal,
  of: { readonly nodeId: string; readonly row: StateRow | undefined; readonly latest: Sample | undefined },
): Item {
  const { nodeId, row, latest } = of
  return {
    ...{ signal: name, subject: stateKey({ signalId: id, nodeId }), metric, state: row?.state ?? "unknown", raise },
    ...(clear && { clear }),
    ...(row && { since: toInstant(row.since) }),
    ...(row && row.value !== null && { value: row.value }),
    ...(row?.silenced && { silenced: row.silenced }),
    ...(latest && { latest: { ...latest, at: toInstant(latest.at) } }),
  }
}
