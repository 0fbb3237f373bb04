import { createHash } from "node:crypto"
import type { MetricWatch } from "@signalbox/contracts/fleet/metrics"
import { parseTagQuery, type TagQuery } from "@signalbox/contracts/fleet/tag-query"
import type { InputOf } from "@signalbox/contracts/operation"
import type { signalsPut } from "@signalbox/contracts/triggers/signals"
import { triggerLimits } from "@signalbox/contracts/triggers/trigger-limits"
import { AppError, type Issue } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { getDuration } from "@signalbox/kernel/duration"
import type { DefinitionRow } from "./definition-store.ts"
import type { SignalRule, SignalThreshold } from "./signal-machine.ts"

/** What a person wrote of a signal, as it is kept. */
export type SignalSpec = Omit<InputOf<typeof signalsPut>, "name" | "description">

/** A signal as it is evaluated. */
export interface CompiledSignal {
  readonly id: string
  readonly account: string
  readonly name: string
  readonly spec: SignalSpec
  /** Undefined: every node. */
  readonly nodes: TagQuery | undefined
  readonly rule: SignalRule
  readonly watch: MetricWatch
  readonly missingAfterMs: number
}

const defaultTimeout = "10s"

export function compileSignal({ id, account, name, spec }: DefinitionRow<SignalSpec>): CompiledSignal {
  const raise = thresholdOf(spec.raise)
  return {
    ...{ id, account, name, spec },
    nodes: spec.nodes === undefined ? undefined : parseTagQuery(spec.nodes),
    rule: { raise, clear: spec.clear ? thresholdOf(spec.clear) : oppositeOf(raise) },
    watch: watchOf(spec),
    missingAfterMs: getDuration(spec.missing.after),
  }
}

function thresholdOf({ above, below, for: hold }: SignalSpec["raise"]): SignalThreshold {
  return {
    ...(above === undefined ? {} : { above }),
    ...(below === undefined ? {} : { below }),
    holdMs: hold === undefined ? 0 : getDuration(hold),
  }
}

function oppositeOf({ above, below }: SignalThreshold): SignalThreshold {
  return {
    ...(above === undefined ? {} : { below: above }),
    ...(below === undefined ? {} : { above: below }),
    holdMs: 0,
  }
}

/** Signals that want the same figure at the same interval share it. */
function watchOf({ metric, every }: SignalSpec): MetricWatch {
  const everyMilliseconds = getDuration(every)
  const wire = wireMetricOf(metric)
  const id = createHash("sha256")
    .update(canonicalJson([wire, everyMilliseconds]))
    .digest("hex")
    .slice(0, 16)
  return { id, everyMilliseconds, metric: wire }
}

function wireMetricOf(metric: SignalSpec["metric"]): MetricWatch["metric"] {
  if ("load" in metric) return { kind: "load" }
  if ("memory" in metric) return { kind: "memory" }
  if ("disk" in metric) return { kind: "disk", path: metric.disk }
  const { command, timeout = defaultTimeout } = metric
  return { kind: "command", command, timeoutMilliseconds: getDuration(timeout) }
}

/** @throws triggers.invalid-signal with all that is wrong, fleet.invalid-tag-query */
export function checkSpec(spec: SignalSpec): void {
  if (spec.nodes !== undefined) parseTagQuery(spec.nodes)
  const issues = [
    ...thresholdIssues("raise", spec.raise),
    ...(spec.clear ? thresholdIssues("clear", spec.clear) : []),
    ...hysteresisIssues(spec),
    ...boundIssue("every", spec.every, [triggerLimits.everyMillisecondsMin, triggerLimits.everyMillisecondsMax]),
    ...boundIssue("missing.after", spec.missing.after, [1_000, triggerLimits.holdMillisecondsMax]),
    ...timeoutIssues(spec),
  ]
  if (issues.length === 0) return
  throw new AppError("triggers.invalid-signal", `${issues[0]?.path}: ${issues[0]?.message}`, { issues })
}

function thresholdIssues(path: string, { above, below, for: hold }: SignalSpec["raise"]): Issue[] {
  return [
    ...((above === undefined) === (below === undefined) ? [{ path, message: "give above or below, one of them" }] : []),
    ...(hold === undefined ? [] : boundIssue(`${path}.for`, hold, [0, triggerLimits.holdMillisecondsMax])),
  ]
}

/** Clearing lies on the other side of raising, and not beyond it: else it would be raised and cleared at once. */
function hysteresisIssues({ raise, clear }: SignalSpec): Issue[] {
  if (!clear) return []
  const isOpposite =
    raise.above === undefined
      ? clear.above !== undefined && clear.above >= (raise.below ?? 0)
      : clear.below !== undefined && clear.below <= raise.above
  if (isOpposite) return []
  const wanted = raise.above === undefined ? `above ${raise.below} or more` : `below ${raise.above} or less`
  return [{ path: "clear", message: `it has to be ${wanted}, the other side of raise` }]
}

function timeoutIssues({ metric, every }: SignalSpec): Issue[] {
  if (!("command" in metric) || metric.timeout === undefined) return []
  const most = Math.min(triggerLimits.commandTimeoutMillisecondsMax, getDuration(every))
  return boundIssue("metric.timeout", metric.timeout, [1, most])
}

function boundIssue(path: string, text: string, [least, most]: readonly [number, number]): Issue[] {
  const value = getDuration(text)
  return value >= least && value <= most ? [] : [{ path, message: `from ${least / 1000}s to ${most / 1000}s` }]
}
