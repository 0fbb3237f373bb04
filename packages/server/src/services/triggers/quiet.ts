import { matchesTagQuery, parseTagQuery, type TagQuery } from "@signalbox/contracts/fleet/tag-query"
import type { InputOf } from "@signalbox/contracts/operation"
import type { silencesPut } from "@signalbox/contracts/triggers/signals"
import type { DefinitionRow } from "./definition-store.ts"

/** Which raised signals fire no rules: silences, and other signals that inhibit them. Pure. */

/** What a person wrote of a silence, as it is kept; instants are milliseconds. */
export interface SilenceSpec extends Pick<InputOf<typeof silencesPut>, "signals" | "nodes" | "reason"> {
  readonly from: number
  readonly until: number
}

export interface Silence {
  readonly name: string
  readonly signals: readonly string[]
  readonly nodes: TagQuery | undefined
  readonly from: number
  readonly until: number
}

/** Why a raised signal fires no rules. */
export interface Silenced {
  readonly by: "silence" | "signal"
  readonly name: string
}

export type Labels = Readonly<Record<string, string>>

export function compileSilence({ name, spec }: DefinitionRow<SilenceSpec>): Silence {
  const { signals, nodes, from, until } = spec
  return { name, signals, nodes: nodes === undefined ? undefined : parseTagQuery(nodes), from, until }
}

/** `disk-*` or a name as it is. */
export function fitsPattern(pattern: string, name: string): boolean {
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern
}

/** The first silence, by name, that holds for a signal on a node with these labels. */
export function findSilence(
  silences: readonly Silence[],
  { signal, labels, now }: { readonly signal: string; readonly labels: Labels; readonly now: number },
): Silence | undefined {
  return silences.find(
    ({ signals, nodes, from, until }) =>
      from <= now &&
      now < until &&
      signals.some((pattern) => fitsPattern(pattern, signal)) &&
      (nodes === undefined || matchesTagQuery(nodes, labels)),
  )
}

/** A signal that keeps others quiet while it is raised. */
export interface Inhibitor {
  readonly name: string
  readonly signals: readonly string[]
  readonly equal: readonly string[]
}

/** Those that could keep a signal quiet; no signal does so to itself. */
export function inhibitorsOf(all: readonly Inhibitor[], signal: string): Inhibitor[] {
  return all.filter(({ name, signals }) => name !== signal && signals.some((pattern) => fitsPattern(pattern, signal)))
}

/** What the inhibitor's labels have to hold; a label that is missing counts as empty, on both sides. */
export function equalLabels({ equal }: Inhibitor, labels: Labels): Labels {
  return Object.fromEntries(equal.map((label) => [label, labels[label] ?? ""]))
}
