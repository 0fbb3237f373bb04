/** What set rules going, in words: a call, a signal, a hook, a trigger; undefined for other events. Pure. */
export function triggerSentence({ type, data }: { readonly type: string; readonly data: unknown }): string | undefined {
  if (typeof data !== "object" || data === null) return undefined
  const facts = data as Facts
  switch (type) {
    case "operation.done":
      return `rules follow ${facts.operation ?? ""}: ${(facts.firings ?? []).map(({ rule }) => rule).join(", ")}`
    case "signal.raised":
    case "signal.cleared":
      return signalText(type === "signal.raised" ? "raised" : "cleared", facts)
    case "webhook.received":
      return `the hook ${facts.webhook ?? ""} received a message`
    case "trigger.fired":
      return `the trigger ${facts.trigger ?? ""} was fired`
    default:
      return undefined
  }
}

interface Facts {
  readonly operation?: string
  readonly firings?: ReadonlyArray<{ readonly rule: string }>
  readonly signal?: string
  readonly node?: string
  readonly value?: number
  readonly threshold?: number
  readonly reason?: string
  readonly silenced?: { readonly by: string; readonly name: string }
  readonly webhook?: string
  readonly trigger?: string
}

function signalText(happened: string, { signal, node, value, threshold, reason, silenced }: Facts): string {
  const why = reason === "threshold" ? `${value ?? "?"}, threshold ${threshold ?? "?"}` : reason?.replaceAll("-", " ")
  const quiet = silenced ? `; kept quiet by the ${silenced.by} ${silenced.name}` : ""
  return `signal ${signal ?? ""} ${happened} on ${node ?? ""}: ${why ?? ""}${quiet}`
}
