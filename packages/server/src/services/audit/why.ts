import { nodesGet } from "@signalbox/contracts/fleet/operations"
import { AppError, hasCode } from "@signalbox/kernel/app-error"
import { parseTaskId } from "@signalbox/kernel/id"
import type { ReadContext } from "../../router/handler.ts"
import type { OperationCaller } from "../../router/ports.ts"
import { findEvents, type Expanders, type OutboxEvent } from "../../storage/outbox.ts"
import { tellStory, type AuditRow, type StoryEntry } from "./model.ts"
import { findAudit } from "./store.ts"

export interface Story {
  readonly cause: string
  readonly entries: readonly StoryEntry[]
  readonly truncated: boolean
}

/**
 * Walks from any id to its cause, and tells everything of that cause. A task's story is that of its execution, less
 * the other tasks. Something that several causes touched (a node, a workflow) is told by its own events.
 *
 * @throws audit.unknown-subject
 */
export async function explainWhy(
  options: { readonly operations: OperationCaller; readonly expanders: Expanders },
  question: { readonly id: string; readonly limit: number; readonly context: ReadContext },
): Promise<Story> {
  const { context, limit } = question
  const { sql, account } = context
  const { expanders } = options
  const subject = await subjectOf(options.operations, question)
  const readMax = limit + 1
  const find = (field: "cause" | "subject", value: string) =>
    Promise.all([
      findAudit(sql, { account, field, value, limit: readMax }),
      findEvents(sql, { account, field, value, limit: readMax, expanders }),
    ])

  if (subject.startsWith("evt_")) {
    const [event] = await findEvents(sql, { account, field: "id", value: subject, limit: 1, expanders })
    if (!event) throw new AppError("audit.unknown-subject", `there is no event "${question.id}" in this account`)
    return tell(event.cause, await find("cause", event.cause), question)
  }
  const [ownRequests, ownEvents] = await find("subject", subject)
  const causes = new Set([...ownRequests.map(({ cause }) => cause), ...ownEvents.map(({ cause }) => cause)])
  if (causes.size > 1) return tell([...causes][0] ?? subject, [ownRequests, ownEvents], question)
  const [cause = subject] = causes
  const whole = await find("cause", cause)
  if (whole[0].length === 0 && whole[1].length === 0) {
    throw new AppError("audit.unknown-subject", `nothing is on record about "${question.id}"`)
  }
  return tell(cause, whole, question)
}

function tell(
  cause: string,
  [requests, events]: readonly [AuditRow[], OutboxEvent[]],
  question: { readonly id: string; readonly limit: number },
): Story {
  const entries = tellStory(requests, withoutOtherTasks(events, question.id))
  return { cause, entries: entries.slice(0, question.limit), truncated: entries.length > question.limit }
}

function withoutOtherTasks(events: readonly OutboxEvent[], id: string): readonly OutboxEvent[] {
  if (!parseTaskId(id)) return events
  return events.filter((event) => event.subject === id || !parseTaskId(event.subject))
}

/** A task belongs to the story of its execution; a node may be called by its name. */
async function subjectOf(
  operations: OperationCaller,
  question: { readonly id: string; readonly context: ReadContext },
): Promise<string> {
  const { id, context } = question
  const task = parseTaskId(id)
  if (task) return task.executionId
  if (/^[a-z]{3}_[0-9a-z]{26}(?:#\d+)?$/.test(id)) return id.split("#", 1)[0] ?? id
  try {
    const node = await operations.call(
      nodesGet,
      { node: id },
      { account: context.account, service: "audit", roles: ["viewer"], cause: context.cause, depth: context.depth + 1 },
    )
    return node.id
  } catch (error) {
    if (hasCode(error, "fleet.node-not-found") || hasCode(error, "request.invalid-input")) return id
    throw error
  }
}
