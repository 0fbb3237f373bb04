/**
 * Tells people what the machine wants them told: one message for each person and contact, once for each event, with a
 * link that answers where an answer is wanted. Called by the job queue alone.
 */
import { createHash } from "node:crypto"
import { deliveriesSend } from "@signalbox/contracts/notifications/sending"
import type { CallInputOf } from "@signalbox/contracts/operation"
import type { Effect, Recipient, RequestState } from "@signalbox/approvals/types"
import { hasCode } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { encodeBase32 } from "@signalbox/kernel/id"
import { mapBounded } from "@signalbox/kernel/map-bounded"
import type { Mac } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import type { Consumer } from "../../storage/dispatcher.ts"
import type { DeliveredEvent } from "../../storage/outbox.ts"
import { makeLinkToken } from "./link-token.ts"
import { putLink } from "./link-store.ts"
import { describeNotice } from "./notice-text.ts"
import type { ApprovalsContext } from "./options.ts"
import { findPerson } from "./people.ts"
import { noticesEvent } from "./request-change.ts"
import { findRequestWithContent, type RequestRow } from "./request-store.ts"

export interface NoticesContext extends ApprovalsContext {
  readonly linkMac: Mac
  /** Where members reach the answer pages. */
  readonly membersUrl: string
}

export type Notice = Omit<Extract<Effect, { type: "notice" }>, "type">

/** So long a link in a message is good, where nothing ends its level before. */
const linkMilliseconds = 14 * 24 * 3_600_000
/** Recipients of one notice that are told at once. */
const toldAtOnceMax = 4
const mailPrefix = "mailto:"
const channelPrefix = "channel:"

export function noticesConsumer(context: NoticesContext): Consumer {
  return {
    name: "approvals.notices",
    types: [noticesEvent],
    eventsPerJobMax: 20,
    async handle(event, { database }) {
      const found = await findRequestWithContent(database, event.account, event.subject)
      if (!found) return
      const { content, ...row } = found
      const { notices } = event.data as { notices: readonly Notice[] }
      for (const [index, notice] of notices.entries()) {
        if (isOvertaken(row.stateData, notice)) continue
        await mapBounded(notice.to, toldAtOnceMax, (recipient) =>
          tell(context, database, { event, row, content, notice, index, recipient }),
        )
      }
    },
  }
}

interface Telling {
  readonly event: DeliveredEvent
  readonly row: RequestRow
  readonly content: unknown
  readonly notice: Notice
  readonly index: number
  readonly recipient: Recipient
}

/** Whether nothing can be answered any more of what the notice is about. */
function isOvertaken(state: RequestState, { kind, level }: Notice): boolean {
  if (!wantsAnswer(kind)) return false
  if (kind === "question") return state.state !== "asking"
  return state.endedAt !== null || state.level !== level
}

function wantsAnswer(kind: Notice["kind"]): boolean {
  return kind === "decide" || kind === "reminder" || kind === "escalation" || kind === "answer" || kind === "question"
}

async function tell(context: NoticesContext, sql: Sql, telling: Telling): Promise<void> {
  const { row, content, notice, recipient } = telling
  const contacts = contactsOf(context, telling)
  if (contacts.length === 0) return
  const answerUrl = wantsAnswer(notice.kind) ? await makeLink(context, sql, telling) : undefined
  const { text } = notice
  const message = describeNotice({
    ...{ state: row.stateData, title: row.title, id: row.id, kind: notice.kind, content, recipient },
    rules: row.held?.rules,
    ...(text === undefined ? {} : { text }),
    ...(answerUrl === undefined ? {} : { answerUrl }),
  })
  for (const to of contacts) await send(context, telling, { to, message })
}

type Sending = Pick<CallInputOf<typeof deliveriesSend>, "to" | "message">

async function send(context: NoticesContext, telling: Telling, { to, message }: Sending): Promise<void> {
  const { event, row, notice, index, recipient } = telling
  const { account, id, cause, depth } = event
  const contact = "mail" in to ? to.mail : `${channelPrefix}${to.channel}`
  const digest = createHash("sha256").update(`${recipient.person.key} ${recipient.seat} ${contact}`).digest("base64url")
  const as = { account, service: "approvals", roles: ["notifier"], cause, causedBy: id, depth } as const
  try {
    await context.operations.call(
      deliveriesSend,
      {
        ...{ to, message, dedupeKey: `${id}:${index}:${digest}` },
        event: {
          ...{ id, type: `approval-request.${notice.kind}`, subject: row.id, subjectVersion: event.subjectVersion },
          time: toInstant(event.time),
          data: { request: row.id, title: row.title, kind: notice.kind, digest: row.stateData.digest },
        },
      },
      as,
    )
  } catch (error) {
    // A channel that was removed reaches nobody; the others are told all the same.
    if (!hasCode(error, "notifications.channel-not-found")) throw error
  }
}

/** Mail addresses and channels of a person: the group's first, then what the installation knows. */
function contactsOf(context: NoticesContext, { row, notice, recipient }: Telling): Sending["to"][] {
  const { person, seat } = recipient
  const { account, stateData } = row
  const isMember = seat === person.key
  const groups = notice.level === null ? [] : groupsOf(stateData, notice.level)
  const listed = isMember ? context.directory.findContacts(account, { groups, key: person.key }) : []
  const mails = new Set(listed.flatMap(({ mail }) => (mail === undefined ? [] : [mail])))
  const channels = new Set(listed.flatMap(({ channel }) => (channel === undefined ? [] : [channel])))
  if (mails.size === 0) {
    const known = findPerson(context.principals, account, { reference: person.key, now: context.clock.now() })
    if (known?.mail !== undefined) mails.add(known.mail)
    if (person.key.startsWith(mailPrefix)) mails.add(person.key.slice(mailPrefix.length))
  }
  return [...[...mails].map((mail) => ({ mail })), ...[...channels].map((channel) => ({ channel }))]
}

/** All groups from which a level's members may have come. */
function groupsOf(state: RequestState, level: number): string[] {
  const rule = state.template?.rule.levels[level - 1]
  const seats = state.levels[level - 1]?.seats ?? []
  const named = rule ? [rule.group, rule.escalation?.group] : []
  return [...new Set([...named, ...seats.flatMap(({ groups }) => groups)])].filter((name) => name !== undefined)
}

async function makeLink(context: NoticesContext, sql: Sql, telling: Telling): Promise<string> {
  const { row, notice, recipient } = telling
  const { account, id: requestId, stateData } = row
  const level = notice.level ?? stateData.level
  const { digest } = stateData
  const openings = stateData.levels[level - 1]?.openings ?? 0
  const questions = recipient.seat === null ? stateData.questions.length : 0
  const linkId = linkIdOf([requestId, level, openings, questions, recipient.seat, recipient.person.key, digest])
  const now = context.clock.now()
  const { key, name } = recipient.person
  const person = name === undefined ? { key } : { key, name }
  await putLink(
    sql,
    {
      ...{ requestId, id: linkId, account, level, person, digest, seat: recipient.seat },
      expiresAt: now + linkMilliseconds,
    },
    now,
  )
  return `${context.membersUrl}/answers/${makeLinkToken({ account, requestId, linkId }, context.linkMac)}`
}

/** The same person, seat, opened level and content have the same link, however often it is sent. */
function linkIdOf(bound: readonly unknown[]): string {
  const digest = createHash("sha256").update(JSON.stringify(bound)).digest()
  return `apl_${encodeBase32(digest.subarray(0, 16))}`
}
