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

/** Joins requests and events into one account in order of time; a request comes before what it caused. */
export function tellStory(
  requests: readonly AuditRow[],
  events: readonly StoryEvent[],
  more: readonly StoryEntry[] = [],
): StoryEntry[] {
  const entries: StoryEntry[] = [
    ...more,
    ...requests.map((request): StoryEntry => ({
      time: request.time,
      kind: "request",
      id: request.id,
      what: request.operation,
      subject: request.subject,
      principal: request.principal,
      depth: 0,
      text:
        request.outcome === "done"
          ? `${request.principal} called ${request.operation}`
          : `${request.principal} called ${request.operation} and was refused: ${request.outcome}`,
    })),
    ...events.map((event): StoryEntry => ({
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
  return entries.toSorted((a, b) => a.time - b.time || a.depth - b.depth || (a.id < b.id ? -1 : 1))
}

function sentence(event: StoryEvent): string {
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

/** Tells nothing but that a task began, or ended well. */
export function isUneventful({ what, data }: StoryEntry): boolean {
  return what === "task.started" || (what === "task.finished" && data?.["state"] === "succeeded")
}

function record(data: unknown): Record<string, unknown> {
  return typeof data === "object" && data !== null && !Array.isArray(data) ? (data as Record<string, unknown>) : {}
}
