import { nodesGet } from "@signalbox/contracts/fleet/operations"
import { AppError, hasCode } from "@signalbox/kernel/app-error"
import { parseTaskId } from "@signalbox/kernel/id"
import type { ReadContext } from "../../router/handler.ts"
import type { OperationCaller } from "../../router/ports.ts"
import { findEvents, type Expanders, type OutboxEvent } from "../../storage/outbox.ts"
import { findNodeSignals } from "./node-signals.ts"
import { findNodeTasks } from "./node-tasks.ts"
import { isUneventful, tellStory, type AuditRow, type StoryEntry } from "./model.ts"
import { findAudit } from "./store.ts"
import { nameTasks } from "./task-names.ts"

export interface Story {
  readonly cause: string
  readonly entries: readonly StoryEntry[]
  readonly truncated: boolean
  /** Of a node. */
  readonly signals?: Awaited<ReturnType<typeof findNodeSignals>>
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
  const node = await findNode(options.operations, question)
  const subject = node?.id ?? subjectOf(question.id)
  const readMax = limit + 1
  const find = (field: "cause" | "subject", value: string) =>
    Promise.all([
      findAudit(sql, { account, field, value, limit: readMax }),
      findEvents(sql, { account, field, value, limit: readMax, expanders }),
    ])

  if (subject.startsWith("evt_")) {
    const [event] = await findEvents(sql, { account, field: "id", value: subject, limit: 1, expanders })
    if (!event) throw new AppError("audit.unknown-subject", `there is no event "${question.id}" in this account`)
    return await tell(options, question, { cause: event.cause, found: [await find("cause", event.cause)] })
  }
  const [ownRequests, ownEvents] = await find("subject", subject)
  if (node) {
    const own = tellStory(ownRequests, ownEvents, await findNodeTasks(options.operations, node, context))
    return {
      ...{ cause: ownEvents[0]?.cause ?? subject, entries: own.slice(0, limit), truncated: own.length > limit },
      signals: await findNodeSignals(options.operations, node.id, context),
    }
  }
  // What lives for a while between a few calls is told with the whole story of each of them.
  const life = isInstance(subject) ? [...new Set(ownEvents.map(({ cause }) => cause))].slice(0, lifeCausesMax) : []
  if (life[0] !== undefined) {
    const whole = await Promise.all(life.map((each) => find("cause", each)))
    return await tell(options, question, { cause: life[0], found: [[ownRequests, ownEvents], ...whole] })
  }
  // An approval's story is that of the call that asked for it, whoever answered.
  const touching = isApproval(subject) ? ownEvents.slice(0, 1) : [...ownRequests, ...ownEvents]
  const causes = new Set(touching.map(({ cause }) => cause))
  const own = [ownRequests, ownEvents] as const
  if (causes.size > 1) return await tell(options, question, { cause: [...causes][0] ?? subject, found: [own] })
  const [cause = subject] = causes
  const whole = await find("cause", cause)
  if (whole[0].length === 0 && whole[1].length === 0) {
    throw new AppError("audit.unknown-subject", `nothing is on record about "${question.id}"`)
  }
  return await tell(options, question, { cause, found: [own, whole] })
}

/** Where there is more than may be told, tasks that went well are left out first. */
async function tell(
  { operations, expanders }: { readonly operations: OperationCaller; readonly expanders: Expanders },
  question: { readonly id: string; readonly limit: number; readonly context: ReadContext },
  { cause, found }: { readonly cause: string; readonly found: ReadonlyArray<readonly [AuditRow[], OutboxEvent[]]> },
): Promise<Story> {
  const { id, limit, context } = question
  const approvals = await findApprovals(question.context, { expanders, limit }, found)
  const requests = new Map(found.flatMap(([rows]) => rows.map((row) => [row.id, row] as const)))
  const events = new Map([...found.flatMap(([, rows]) => rows), ...approvals].map((row) => [row.id, row] as const))
  const all = tellStory([...requests.values()], withoutOtherTasks([...events.values()], id))
  const truncated = all.length > limit
  const told = truncated ? all.filter((entry) => !isUneventful(entry)) : all
  return { cause, entries: await nameTasks(operations, told.slice(0, limit), context), truncated }
}

const isInstance = (id: string): boolean => id.startsWith("ins_")
/** Of a launched product: its launch, its updates, its end. */
const lifeCausesMax = 20

const isApproval = (id: string): boolean => id.startsWith("apr_")
const approvalsMax = 20

/** Votes are calls of their own, with causes of their own: they are found by the request that they are about. */
async function findApprovals(
  { sql, account }: ReadContext,
  { expanders, limit }: { readonly expanders: Expanders; readonly limit: number },
  found: ReadonlyArray<readonly [AuditRow[], OutboxEvent[]]>,
): Promise<OutboxEvent[]> {
  const all = found.flatMap(([, events]) => events)
  const ids = new Set(all.filter(({ type }) => type.startsWith("approval-request.")).map(({ subject }) => subject))
  const events: OutboxEvent[] = []
  for (const value of [...ids].slice(0, approvalsMax))
    events.push(...(await findEvents(sql, { account, field: "subject", value, limit: limit + 1, expanders })))
  return events
}

function withoutOtherTasks(events: readonly OutboxEvent[], id: string): readonly OutboxEvent[] {
  if (!parseTaskId(id)) return events
  return events.filter((event) => event.subject === id || !parseTaskId(event.subject))
}

/** A task belongs to the story of its execution, a part of a batch event to its batch. */
function subjectOf(id: string): string {
  return parseTaskId(id)?.executionId ?? id.split("#", 1)[0] ?? id
}

/** The node that goes by this id or name; other ids are left to their own. */
async function findNode(
  operations: OperationCaller,
  question: { readonly id: string; readonly context: ReadContext },
): Promise<{ id: string; name: string } | undefined> {
  const { id, context } = question
  if (/^(?!nod_)[a-z]{3}_[0-9a-z]{26}/.test(id)) return undefined
  const { account, cause, depth } = context
  try {
    const as = { account, cause, depth: depth + 1, service: "audit", roles: ["viewer"] } as const
    return await operations.call(nodesGet, { node: id }, as)
  } catch (error) {
    if (hasCode(error, "fleet.node-not-found") || hasCode(error, "request.invalid-input")) return undefined
    throw error
  }
}
