import type { CallInputOf } from "@signalbox/contracts/operation"
import type { hooksPut } from "@signalbox/contracts/triggers/hooks"
import type { triggersPut } from "@signalbox/contracts/triggers/named-triggers"
import type { signalsPut, silencesPut } from "@signalbox/contracts/triggers/signals"
import { stringify } from "yaml"
import { durationText } from "./duration-text.ts"

/** Signals, silences, hooks and triggers as documents, always written the same way, so that two can be compared. */

type Signal = CallInputOf<typeof signalsPut>

export function signalText(signal: Signal): string {
  const { name, description, nodes, metric, raise, clear, every = "15s", missing = {}, inhibits } = signal
  const { as = "keep", after = "5m" } = missing
  return stringify({
    kind: "Signal",
    name,
    ...given({ description, nodes }),
    metric: metricOf(metric),
    raise: thresholdOf(raise),
    ...given({ clear: clear && thresholdOf(clear) }),
    every: durationText(every),
    missing: { as, after: durationText(after) },
    ...given({ inhibits: inhibits && { signals: inhibits.signals, equal: inhibits.equal ?? ["node"] } }),
  })
}

function metricOf(metric: Signal["metric"]): object {
  if (!("command" in metric)) return metric
  const { command, timeout } = metric
  return { command, ...given({ timeout: timeout === undefined ? undefined : durationText(timeout) }) }
}

function thresholdOf({ above, below, for: hold }: Signal["raise"]): object {
  return given({ above, below, for: hold === undefined ? undefined : durationText(hold) })
}

export function silenceText(silence: CallInputOf<typeof silencesPut>): string {
  const { name, signals = ["*"], nodes, from, until, reason } = silence
  return stringify({
    ...{ kind: "Silence", name, signals },
    ...given({ nodes, from: from === undefined ? undefined : instantText(from) }),
    ...{ until: instantText(until), reason },
  })
}

/** As the server tells it; what is no instant is left for the server to refuse. */
function instantText(text: string): string {
  const milliseconds = Date.parse(text)
  return Number.isNaN(milliseconds) ? text : new Date(milliseconds).toISOString()
}

export function hookText(hook: Omit<CallInputOf<typeof hooksPut>, "secret">): string {
  const { name, description, verify = "standard", signature, idHeader, headers = [], enabled = true } = hook
  const { header, prefix = "", algorithm = "sha256", encoding = "hex" } = signature ?? {}
  return stringify({
    ...{ kind: "Hook", name, ...given({ description }), verify },
    ...given({ signature: signature && { header, prefix, algorithm, encoding }, idHeader }),
    ...{ headers, enabled },
  })
}

export function namedTriggerText({ name, description, schema }: CallInputOf<typeof triggersPut>): string {
  return stringify({ kind: "Trigger", name, ...given({ description, schema }) }, { sortMapEntries: false })
}

function given(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
