import { actionSentence } from "./action-sentence.ts"
import { approvalSentence } from "./approval-sentence.ts"
import { triggerSentence } from "./trigger-sentence.ts"

/** A call that changed something, or was refused for lack of authority. */
export interface AuditRow {
  readonly id: string
  readonly time: number
  readonly principal: string
  readonly operation: string
  readonly subject: string
  readonly outcome: string
  readonly cause: string
  readonly caused_by: string | null
  readonly source_address: string | null
  readonly input_digest: string
}

/** What the story of an id is told from; both lists the oldest first. */
export interface StoryEvent {
  readonly id: string
  readonly time: number
  readonly type: string
  readonly subject: string
  readonly principal: string
  readonly depth: number
  readonly data: unknown
}

export interface StoryEntry {
  readonly time: number
  readonly kind: "request" | "event" | "task"
  readonly id: string
  readonly what: string
  readonly subject: string
  readonly principal: string
  readonly text: string
  readonly depth: number
  readonly data?: Record<string, unknown>
}

/** How approvals keep calls and reach people: what they come to is told by the request's own events. */
const quietOperations: ReadonlySet<string> = new Set(["deliveries.send", "held-operations.keep"])
const quietEvents: ReadonlySet<string> = new Set(["approval-notices.requested", "delivery.requested"])

/** Joins requests and events into one account in order of time; a request comes before what it caused. */
export function tellStory(
  requests: readonly AuditRow[],
  events: readonly StoryEvent[],
  more: readonly StoryEntry[] = [],
): StoryEntry[] {
  const begins = beginningsOf(events)
  const entries: StoryEntry[] = [
    ...more,
    ...requests
      .filter((request) => !quietOperations.has(request.operation) && !isToldByRun(request, begins))
      .map((request): StoryEntry => ({
        time: request.time,
        kind: "request",
        id: request.id,
        what: request.operation,
        subject: request.subject,
        principal: request.principal,
        depth: (begins.get(request.caused_by ?? "")?.depth ?? -1) + 1,
        text:
          request.outcome === "done"
            ? `${request.principal} called ${request.operation}`
            : `${request.principal} called ${request.operation} and was refused: ${request.outcome}`,
      })),
    ...events
      .filter(({ type }) => !quietEvents.has(type))
      .map((event): StoryEntry => ({
        time: event.time,
        kind: "event",
        id: event.id,
        what: event.type,
        subject: event.subject,
        principal: event.principal,
        depth: event.depth + 1,
        text: sentence(event),
        data: record(event.data),
      })),
  ]
  return entries.toSorted(
    (a, b) => a.time - b.time || a.depth - b.depth || rankOf(a) - rankOf(b) || (a.id < b.id ? -1 : 1),
  )
}

/** What requests name as their direct cause: an event, or what an action or an approval is told by first. */
function beginningsOf(events: readonly StoryEvent[]): Map<string, Pick<StoryEvent, "type" | "depth">> {
  const begins = new Map<string, Pick<StoryEvent, "type" | "depth">>()
  for (const { id, subject, type, depth } of events) {
    begins.set(id, { type, depth: depth + 1 })
    if (/^(?:act|apr)_/.test(subject) && !begins.has(subject)) begins.set(subject, { type, depth: depth + 1 })
  }
  return begins
}

/** The call of an action that was carried out: its run says so in its own words. */
function isToldByRun({ outcome, caused_by: by }: AuditRow, begins: ReadonlyMap<string, { readonly type: string }>) {
  return outcome === "done" && by !== null && by.startsWith("act_") && begins.get(by)?.type === "action.started"
}

/** Of what is written in one moment at one depth: a call, and what is answered, come before what that leads to. */
function rankOf({ kind, what }: StoryEntry): number {
  if (kind === "request") return -1
  const rank = ["approval-request.submitted", "approval-request.matched", "approval-request.voted"].indexOf(what)
  return rank === -1 ? Number.MAX_SAFE_INTEGER : rank
}

export function sentence(event: StoryEvent): string {
  const told = approvalSentence(event) ?? actionSentence(event) ?? triggerSentence(event)
  if (told !== undefined) return told
  const [noun = "", happened = ""] = event.type.split(".")
  const data = record(event.data)
  // A task's end says how.
  const verb = event.type === "task.finished" && typeof data["state"] === "string" ? data["state"] : happened
  const name = data["name"] ?? data["nodeName"] ?? data["workflow"]
  const what = `${noun.replaceAll("-", " ")} ${typeof name === "string" ? name : event.subject} ${verb.replaceAll("-", " ")}`
  const reason = data["reason"] ?? data["message"] ?? data["hold"] ?? aboutOf(data)
  return typeof reason === "string" && reason !== "" ? `${what}: ${reason}` : what
}

/** Which execution another one is about. */
function aboutOf({ retryOf, rollbackOf }: Record<string, unknown>): string | undefined {
  if (typeof retryOf === "string") return `it tries tasks of ${retryOf} again`
  return typeof rollbackOf === "string" ? `it rolls ${rollbackOf} back` : undefined
}

/** A change of a package's version that inventories showed. Instants are milliseconds. */
export interface SeenChange {
  /** The inventory that showed it, and the last one that did not. */
  readonly seenAt: number
  readonly seenAfter: number
  /** By the machine's own clock. */
  readonly changedAt?: number | undefined
}

/** A time in which a run was at work on a machine. */
export interface WorkSpan {
  readonly startedAt: number
  /** Left out while it works. */
  readonly finishedAt?: number | undefined
}

/** How far a machine's clock, and the time that a report takes, may be off. */
export const clockSlackMilliseconds = 5_000

/**
 * Which runs a change may come from. Where the machine says when it was, a run that was at work then did it, and if
 * there is none nobody here did; else every run between the two inventories may have.
 */
export function attributeChange<Run extends WorkSpan>(
  change: SeenChange,
  runs: readonly Run[],
): { readonly kind: "run" | "maybe-run"; readonly run: Run } | { readonly kind: "outside" } {
  const within = (from: number, to: number) =>
    runs.filter(({ startedAt, finishedAt = Infinity }) => startedAt <= to && finishedAt >= from)
  const { seenAt, seenAfter, changedAt } = change
  const slack = clockSlackMilliseconds
  // A time outside of what the inventories say is that of a clock that is wrong.
  if (changedAt !== undefined && changedAt >= seenAfter - slack && changedAt <= seenAt + slack) {
    const run = newest(within(changedAt - slack, changedAt + slack))
    return run ? { kind: "run", run } : { kind: "outside" }
  }
  const run = newest(within(seenAfter, seenAt))
  return run ? { kind: "maybe-run", run } : { kind: "outside" }
}

function newest<Run extends WorkSpan>(runs: readonly Run[]): Run | undefined {
  return runs.toSorted((a, b) => b.startedAt - a.startedAt)[0]
}

/** Tells nothing but that a task began, or ended well. */
export function isUneventful({ what, data }: StoryEntry): boolean {
  return what === "task.started" || (what === "task.finished" && data?.["state"] === "succeeded")
}

export function record(data: unknown): Record<string, unknown> {
  return typeof data === "object" && data !== null && !Array.isArray(data) ? (data as Record<string, unknown>) : {}
}
