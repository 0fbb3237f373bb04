const endings: Readonly<Record<string, string>> = {
  "action.finished": "succeeded",
  "action.held": "waits for an approval",
  "action.dead": "was given up",
  "action.cancelled": "was cancelled",
  "action.queued": "is queued",
  "action.redriven": "is tried again",
  "action.stopped": "was stopped",
}

const limits: Readonly<Record<string, string>> = { budget: "over its budget", queue: "over what may be queued" }

function droppedSentence({ rule, dropped, limit }: { rule?: unknown; dropped?: unknown; limit?: unknown }): string {
  return `the rule "${String(rule)}" did not act ${String(dropped)} times: ${limits[String(limit)] ?? String(limit)}`
}

/** What happened to a run of a rule's action, in words; undefined for other events. */
export function actionSentence({ type, data }: { readonly type: string; readonly data: unknown }): string | undefined {
  if (!type.startsWith("action.") || typeof data !== "object" || data === null) return undefined
  const texts = Object.entries(data).filter((entry): entry is [string, string] => typeof entry[1] === "string")
  const { rule, operation, eventType, started, requestUrl, reason } = Object.fromEntries<string | undefined>(texts)
  if (type === "action.started") {
    const on = eventType === "operation.done" ? "acts after the call" : `acts on ${eventType ?? ""}`
    return `the rule "${rule ?? ""}" ${on}: ${operation ?? ""}`
  }
  if (type === "action.dropped") return droppedSentence(data)
  const ending = endings[type]
  if (ending === undefined) return undefined
  const detail = started ?? requestUrl ?? reason ?? ""
  return `the action ${operation ?? ""} of the rule "${rule ?? ""}" ${ending}${detail === "" ? "" : `: ${detail}`}`
}
