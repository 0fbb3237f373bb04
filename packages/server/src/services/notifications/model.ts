import { notificationLimits } from "@signalbox/contracts/notifications/operations"
import { deliveryLimits } from "./notification-limits.ts"

/** What an event looks like to conditions, to receivers and to messages: a CloudEvent (see the contract of events). */
export interface NotifiedEvent {
  readonly specversion: "1.0"
  readonly id: string
  readonly source: string
  readonly type: string
  readonly subject: string
  readonly subjectversion: number
  readonly time: string
  readonly cause: string
  readonly causedby?: string
  readonly depth: number
  readonly principal: string
  readonly data: Readonly<Record<string, unknown>>
}

/** A message in no format yet: each kind of channel writes it its own way. */
export interface Message {
  readonly title: string
  /** An alert is something that went wrong and may have to wake somebody. */
  readonly severity: "alert" | "notice"
  readonly facts: ReadonlyArray<readonly [label: string, value: string]>
  readonly link?: string
  readonly command?: string
  /** Pages on which something can be done. */
  readonly actions?: ReadonlyArray<{ readonly label: string; readonly url: string }>
  /** A mail's two parts, where a service has written them itself. */
  readonly text?: string
  readonly html?: string
  /** Only the recipient may read it: it holds links that act for somebody. */
  readonly confidential?: boolean
  /** Of a confidential message: its actions, text and HTML as it rests in the database, encrypted. */
  readonly sealed?: string
}

/** What a message about an execution says beside its event. */
export interface ExecutionFacts {
  readonly id: string
  readonly workflow: string
  readonly state: string
  readonly reason?: string
  readonly startedBy: string
  readonly targetsCount: number
  readonly counts: Readonly<Record<string, number>>
}

/** Whether a subscription's patterns take a type. `*` leaves deliveries out: a delivery that fails is told by name only. */
export function isSubscribed(patterns: readonly string[], type: string): boolean {
  return patterns.some((pattern) => {
    if (pattern === "*") return !isOwnEvent(type)
    return pattern.endsWith(".*") ? type.startsWith(pattern.slice(0, -1)) : pattern === type
  })
}

/** Events of this service; one that is told of and fails again makes no further event, so no loop. */
export function isOwnEvent(type: string): boolean {
  return type.startsWith("delivery.")
}

const alerting = /\.(?:tripped|failed|dead|held|rollback-failed|aborted|incomplete|stopped|raised)$/

export function describeEvent(event: NotifiedEvent, at: { readonly publicUrl: string }): Message {
  const facts: Array<readonly [string, string]> = [
    ["Subject", event.subject],
    ...Object.entries(event.data).flatMap(([name, value]) => (isPlain(value) ? [[name, String(value)] as const] : [])),
    ["By", event.principal],
    ["At", event.time],
  ]
  return clipMessage({
    title: titleOf(event),
    severity: alerting.test(event.type) ? "alert" : "notice",
    facts,
    link: `${at.publicUrl}/v1/why/${encodeURIComponent(event.subject)}`,
    command: `signalbox why ${event.subject}`,
  })
}

/** What a run of a rule, and a signal on a node, is about stands in the event; the rest is told by its id. */
function titleOf({ type, subject, data }: NotifiedEvent): string {
  const [noun, verb = ""] = type.split(".")
  const [rule, node] = [textOf(data["rule"]), textOf(data["node"])]
  const reason = textOf(data["reason"])
  if (noun === "action" && rule !== undefined)
    return `rule ${rule}: ${String(data["operation"])} ${verb}${reason === undefined ? "" : `: ${reason}`}`
  if (noun === "signal" && node !== undefined)
    return `${String(data["signal"])} ${verb} on ${node}: ${isPlain(data["value"]) ? String(data["value"]) : (reason ?? "")}`
  return `${type}: ${subject}`
}

const happened: Readonly<Record<string, string>> = {
  "execution.created": "was asked for",
  "execution.started": "started",
  "execution.paused": "is paused",
  "execution.resumed": "goes on",
  "execution.tripped": "tripped",
  "execution.succeeded": "succeeded",
  "execution.incomplete": "ended with failures within its limit",
  "execution.failed": "failed",
  "execution.aborted": "was aborted",
}

/** What a person woken at night has to know: what ran, why it stopped, what state the fleet is in, who started it. */
export function describeExecution(
  event: NotifiedEvent,
  execution: ExecutionFacts,
  at: { readonly publicUrl: string },
): Message {
  const { counts } = execution
  const reason = textOf(event.data["reason"]) ?? execution.reason
  const what = happened[event.type] ?? event.type.replace("execution.", "").replaceAll("-", " ")
  const count = (name: string): number => counts[name] ?? 0
  const bad = ["failed", "interrupted", "unreachable", "aborted"] as const
  const undone = [
    [count("rolledBack"), "rolled back"],
    [count("rollbackFailed"), "could not be rolled back"],
    [count("notReversible"), "not reversible"],
    [count("rollbackPending") + count("rollbackRunning"), "being rolled back"],
  ] as const
  const sum = (parts: ReadonlyArray<readonly [number, string]>): string =>
    parts.flatMap(([number, name]) => (number > 0 ? [`${number} ${name}`] : [])).join(", ") || "none"
  return clipMessage({
    title: `${execution.workflow} ${what}${reason === undefined || event.type === "execution.started" ? "" : `: ${reason}`}`,
    severity: alerting.test(event.type) ? "alert" : "notice",
    facts: [
      ["Workflow", execution.workflow],
      ["State", execution.state],
      ...(reason === undefined ? [] : [["Why", reason] as const]),
      ["Targets", `${count("succeeded")} of ${execution.targetsCount} ok`],
      ["Failed", sum(bad.map((name) => [count(name), name]))],
      ["Put back", sum(undone)],
      ["Never started", String(count("neverStarted"))],
      ["Started by", execution.startedBy],
      ["At", event.time],
      ["Execution", execution.id],
    ],
    link: `${at.publicUrl}/v1/executions/${execution.id}`,
    command: `signalbox why ${execution.id}`,
  })
}

function isPlain(value: unknown): value is string | number | boolean {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean"
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined
}

/** Texts of a message come from events, so from anywhere: one line each, and not endless. */
export function clipMessage(message: Message): Message {
  const { titleLengthMax, valueLengthMax, factsMax } = deliveryLimits
  return {
    ...message,
    title: oneLine(message.title, titleLengthMax),
    facts: message.facts
      .slice(0, factsMax)
      .map(([label, value]) => [oneLine(label, titleLengthMax), oneLine(value, valueLengthMax)]),
  }
}

function oneLine(text: string, lengthMax: number): string {
  const line = text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ").toWellFormed()
  return line.length <= lengthMax ? line : `${line.slice(0, lengthMax - 1)}…`
}

/** A message as plain text: mail, and what `deliveries.get` shows. */
export function messageText(message: Message, suppressed: number): string {
  if (message.text !== undefined) return message.text
  const width = Math.max(0, ...message.facts.map(([label]) => label.length)) + 2
  return [
    message.title,
    "",
    ...message.facts.map(([label, value]) => `${`${label}:`.padEnd(width)}${value}`),
    "",
    ...(suppressed > 0 ? [suppressedText(suppressed)] : []),
    ...(message.command === undefined ? [] : [`$ ${message.command}`]),
    ...(message.actions ?? []).map(({ label, url }) => `${label}: ${url}`),
    ...(message.link === undefined ? [] : [message.link]),
    "",
  ].join("\n")
}

export function suppressedText(count: number): string {
  return `${count} more ${count === 1 ? "event was" : "events were"} held back since the message before.`
}

/** What one try came to. `permanent`: no further try can succeed. */
export interface TryResult {
  readonly ok: boolean
  /** For people: `HTTP 204`, `250 queued`, or why it failed. Never a URL's path, never a secret. */
  readonly answer: string
  readonly permanent?: boolean
  readonly retryAfterMilliseconds?: number
}

export type NextStep =
  | { readonly state: "delivered" }
  | { readonly state: "dead" }
  | { readonly state: "pending"; readonly inMilliseconds: number }

/** What follows a try. `attempts` counts it; `fraction` (0 to 1) spreads retries over plus or minus a fifth. */
export function decideNext(
  result: TryResult,
  at: { readonly attempts: number; readonly fraction: number; readonly pausesMilliseconds: readonly number[] },
): NextStep {
  if (result.ok) return { state: "delivered" }
  const pause = at.pausesMilliseconds[at.attempts - 1]
  if (result.permanent === true || pause === undefined || at.attempts >= notificationLimits.attemptsMax) {
    return { state: "dead" }
  }
  const spread = Math.round(pause * (0.8 + 0.4 * at.fraction))
  const asked = Math.min(result.retryAfterMilliseconds ?? 0, deliveryLimits.retryAfterMillisecondsMax)
  return { state: "pending", inMilliseconds: Math.max(spread, asked) }
}
