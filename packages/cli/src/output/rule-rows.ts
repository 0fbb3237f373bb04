import type { OutputOf } from "@signalbox/contracts/operation"
import type { rulesList } from "@signalbox/contracts/rules/operations"
import type { nodesSignals, signalsList, signalsStates } from "@signalbox/contracts/triggers/signals"
import { cellText } from "./cell-text.ts"

type Rule = OutputOf<typeof rulesList>["items"][number]
type Trigger = NonNullable<Rule["on"]>[number]
type Action = Rule["do"][number]

/** A rule in a list: what sets it going, what it does, and whether something is wrong with it. */
export function ruleRow({ name, version, on, correlate, do: actions, changedAt, ...rest }: Rule): object {
  return {
    ...{ name, version, changedAt, state: stateText(rest) },
    on: on ? on.map(triggerText).join(", ") : correlationText(correlate),
    does: actions.map(actionText).join(", "),
  }
}

export const ruleColumns = ["name", "state", "on", "does", "version", "changedAt"] as const

type Standing = Pick<Rule, "enabled" | "broken" | "outdated" | "lastFault" | "warnings">

function stateText({ enabled, broken, outdated, lastFault, warnings = [] }: Standing): string {
  if (broken !== undefined) return "broken"
  const faults = lastFault ? `, ${lastFault.count} faults` : ""
  const known = warnings.length === 0 ? "" : `, ${warnings.length} warning${warnings.length === 1 ? "" : "s"}`
  return `${enabled ? "on" : "off"}${outdated === undefined ? "" : ", outdated"}${faults}${known}`
}

function triggerText({ operation, phase, event, signal, state, webhook, trigger, schedule }: Trigger): string {
  if (operation !== undefined) return `${phase ?? ""} ${operation}`
  if (event !== undefined) return `event ${event}`
  if (signal !== undefined) return `signal ${signal}${state === "cleared" ? " cleared" : ""}`
  if (webhook !== undefined) return `hook ${webhook}`
  return trigger === undefined ? `schedule ${cellText(schedule?.cron ?? schedule?.every)}` : `trigger ${trigger}`
}

function correlationText(correlate: Rule["correlate"]): string {
  const [kind = "", members = []] =
    Object.entries({ all: correlate?.all, any: correlate?.any, none: correlate?.none }).find(([, each]) => each) ?? []
  return `${kind} of ${(members ?? []).map(({ event }) => event).join(", ")}`
}

function actionText({ operation, deny, requireApproval, delay, rewrite }: Action): string {
  if (operation !== undefined) return operation
  if (deny) return "deny"
  if (requireApproval) return `approval ${requireApproval.template}`
  return delay === undefined ? `rewrite ${Object.keys(rewrite ?? {}).join(" ")}` : `delay ${cellText(delay)}`
}

type Signal = OutputOf<typeof signalsList>["items"][number]

/** A signal in a list, with those states only that some node is in. */
export function signalRow({ name, nodes, metric, raise, clear, every, counts }: Signal): object {
  const states = Object.entries(counts).flatMap(([state, count]) => (count > 0 ? [`${count} ${state}`] : []))
  return {
    ...{ name, every, nodes: nodes ?? "all", states: states.join(", ") },
    metric: "disk" in metric ? `disk ${metric.disk}` : "command" in metric ? metric.command : Object.keys(metric)[0],
    raise: thresholdText(raise),
    clear: clear && thresholdText(clear),
  }
}

export const signalColumns = ["name", "states", "nodes", "metric", "raise", "clear", "every"] as const

export function thresholdText({ above, below, for: hold }: Signal["raise"]): string {
  const parts = [above === undefined ? [] : `above ${above}`, below === undefined ? [] : `below ${below}`].flat()
  return `${parts.join(" or ")}${hold === undefined ? "" : ` for ${cellText(hold)}`}`
}

type OnNode = OutputOf<typeof nodesSignals>["items"][number]

/** A signal of a node. */
export function nodeSignalRow({ signal, state, since, value, raise, latest, silenced }: OnNode): object {
  return {
    ...{ signal, state, since, at: value, raise: thresholdText(raise) },
    ...{ now: latest?.value, saidAt: latest?.at, problem: latest?.problem },
    quiet: silenced && `${silenced.by} ${silenced.name}`,
  }
}

export const nodeSignalColumns = [
  ...["signal", "state", "since", "at", "raise", "now", "saidAt", "problem", "quiet"],
] as const

type State = OutputOf<typeof signalsStates>["items"][number]

/** A node's state: since when and at which figure, and what it said last. */
export function stateRow({ node, state, since, value, latest, silenced }: State): object {
  return {
    ...{ node, state, since, at: value, now: latest?.value, saidAt: latest?.at, problem: latest?.problem },
    quiet: silenced && `${silenced.by} ${silenced.name}`,
  }
}

export const stateColumns = ["node", "state", "since", "at", "now", "saidAt", "problem", "quiet"] as const
