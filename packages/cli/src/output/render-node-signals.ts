import type { whyNode } from "@signalbox/contracts/audit/operations"
import type { OutputOf } from "@signalbox/contracts/operation"
import { cellText } from "./cell-text.ts"
import { thresholdText } from "./rule-rows.ts"
import { safeLine } from "./safe-text.ts"

type Signal = NonNullable<OutputOf<typeof whyNode>["signals"]>[number]

/** The signals of a node, each in a line, and under those that are raised what rules did because of it. */
export function nodeSignalLines(signals: readonly Signal[] = []): string[] {
  if (signals.length === 0) return []
  return ["Signals:", ...signals.flatMap(linesOf)].map(safeLine)
}

function linesOf({ signal, state, since, value, raise, latest, silenced, raised }: Signal): string[] {
  const begun = since === undefined ? ", has said nothing yet" : ` since ${cellText(since)}`
  const at = value === undefined ? "" : ` at ${cellText(value)}`
  const now = latest === undefined ? "" : `; now ${latest.problem ?? cellText(latest.value)}`
  const quiet = silenced === undefined ? "" : `; quiet by the ${silenced.by} ${silenced.name}`
  const runs = (raised?.runs ?? []).map(({ id, rule, operation, state: came, started }) => {
    return `    └ ${rule}: ${operation} ${came}  [${started ?? id}]`
  })
  const without = raised && runs.length === 0 ? ["    └ it set no rule going"] : []
  return [`  ${signal}: ${state}${begun}${at} (raised ${thresholdText(raise)})${now}${quiet}`, ...runs, ...without]
}
