import { auditList, eventsList, eventsWatch, whyExplain, whyNode } from "@signalbox/contracts/audit/operations"
import type { OutputOf } from "@signalbox/contracts/operation"
import { toInstant, type Clock } from "@signalbox/kernel/clock"
import { onRead, onStream, streamOpen, type Handler, type Service } from "../../router/handler.ts"
import type { OperationCaller } from "../../router/ports.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import type { Database } from "../../storage/database.ts"
import { findPresentPosition, readEvents, type Expanders, type OutboxEvent } from "../../storage/outbox.ts"
import { recordSigningKey, type SigningKey } from "../../storage/signing-key.ts"
import { chainHandlers } from "./chain-handlers.ts"
import { followEvents } from "./event-feed.ts"
import type { AuditRow } from "./model.ts"
import { Sealer } from "./sealer.ts"
import { listAudit } from "./store.ts"
import { explainNode } from "./why-node.ts"
import { explainWhy } from "./why.ts"

export interface AuditOptions {
  readonly database: Database
  readonly clock: Clock
  readonly logger: { warn(fields: object, message: string): void }
  /** Signs the heads of audit chains. */
  readonly signingKey: SigningKey
  readonly operations: OperationCaller
  /** How rows that stand for a batch of events are told apart (D9). */
  readonly expanders: Expanders
}

/** What happened and who did it: events, audit records and their chain, and the story behind an id. */
export function createAuditService(options: AuditOptions): { service: Service } {
  const { database, clock, logger, signingKey } = options
  const sealer = new Sealer({ sql: database, clock, logger, signingKey })
  return {
    service: {
      name: "audit",
      handlers: [...eventHandlers(options), ...auditHandlers(options), ...chainHandlers(options)],
      async start() {
        await recordSigningKey(database, signingKey)
        sealer.start()
      },
      stop: () => sealer.stop(),
    },
  }
}

const toTime = (text: string | undefined): number | undefined => (text === undefined ? undefined : Date.parse(text))

/** Rows read at most for one page of a filtered list, so that a rare subject can't make one call walk everything. */
const listReadsMax = 20

function eventHandlers({ expanders }: AuditOptions): Handler[] {
  return [
    onRead(eventsList, async (input, { sql, account }) => {
      const items: Array<OutputOf<typeof eventsWatch>> = []
      let after = input.cursor
      for (let read = 0; read < listReadsMax; read++) {
        const page = await readEvents(sql, {
          account,
          after,
          limit: input.limit - items.length,
          expanders,
          ...typesOf(input.type),
        })
        items.push(...page.events.filter((event) => matches(event, input)).map(toCloudEvent))
        after = page.cursor
        if (!page.more || items.length === input.limit)
          return { items, ...(page.more && after ? { nextCursor: after } : {}) }
      }
      return { items, ...(after ? { nextCursor: after } : {}) }
    }),
    onStream(eventsWatch, async function* (input, { sql, account, signal }) {
      const after = input.cursor ?? (await findPresentPosition(sql))
      for await (const event of followEvents({ sql, account, after, expanders, signal, ...typesOf(input.type) })) {
        if (event === streamOpen) yield streamOpen
        else if (matches(event, input)) yield { id: event.cursor, data: toCloudEvent(event) }
      }
    }),
  ]
}

function auditHandlers(options: AuditOptions): Handler[] {
  return [
    onRead(auditList, async (input, { sql, account }) => {
      const [at, id] = input.cursor ? decodeCursor(input.cursor, 2) : []
      const before = at === undefined ? undefined : { time: Number(at), id: String(id) }
      const { operation, principal, subject, outcome } = input
      const time = { from: toTime(input.from), to: toTime(input.to) }
      const filter = { account, operation, principal, subject, outcome, ...time }
      const rows = await listAudit(sql, { ...filter, before, limit: input.limit + 1 })
      const shown = rows.slice(0, input.limit)
      const last = shown.at(-1)
      return {
        items: shown.map(toAuditRecord),
        ...(rows.length > input.limit && last ? { nextCursor: encodeCursor([last.time, last.id]) } : {}),
      }
    }),
    onRead(whyExplain, async (input, context) => {
      const story = await explainWhy(options, { ...input, context })
      return {
        id: input.id,
        cause: story.cause,
        truncated: story.truncated,
        ...(story.signals && { signals: story.signals }),
        entries: story.entries.map((entry) => ({ ...entry, time: toInstant(entry.time) })),
      }
    }),
    onRead(whyNode, (input, context) => explainNode(options, { ...input, context })),
  ]
}

interface EventFilter {
  readonly type?: string | undefined
  readonly subject?: string | undefined
}

/** An exact type is looked for by the database, a pattern here. */
function typesOf(type: string | undefined): { types?: readonly string[] } {
  return type === undefined || type.endsWith("*") ? {} : { types: [type] }
}

function matches(event: OutboxEvent, filter: EventFilter): boolean {
  const { type, subject } = filter
  const typeFits =
    type === undefined || (type.endsWith("*") ? event.type.startsWith(type.slice(0, -1)) : event.type === type)
  return typeFits && (subject === undefined || event.subject === subject)
}

function toCloudEvent(event: OutboxEvent): OutputOf<typeof eventsWatch> {
  return {
    specversion: "1.0",
    id: event.id,
    source: `/accounts/${event.account}`,
    type: event.type,
    subject: event.subject,
    subjectversion: event.subjectVersion,
    time: toInstant(event.time),
    cause: event.cause,
    ...(event.causedBy ? { causedby: event.causedBy } : {}),
    depth: event.depth,
    principal: event.principal,
    data: event.data as Record<string, unknown>,
  }
}

function toAuditRecord(row: AuditRow): OutputOf<typeof auditList>["items"][number] {
  return {
    id: row.id,
    time: toInstant(row.time),
    principal: row.principal,
    operation: row.operation,
    subject: row.subject,
    outcome: row.outcome,
    requestId: row.id,
    cause: row.cause,
    inputDigest: row.input_digest,
    ...(row.caused_by === null ? {} : { causedBy: row.caused_by }),
    ...(row.source_address === null ? {} : { sourceAddress: row.source_address }),
  }
}
