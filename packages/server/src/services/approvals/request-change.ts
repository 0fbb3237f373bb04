/**
 * How a request changes: its row is locked, the machine decides, what it decided is stored, its events are told. The
 * same steps for API, links, administrators and timers; nobody else writes a request. `sink` takes the events: a
 * handler's context, or what background work writes itself.
 */
import { decide } from "@signalbox/approvals/decide"
import { listWaits } from "@signalbox/approvals/list-waits"
import { nextTimerAt } from "@signalbox/approvals/next-timer-at"
import type { Effect, Input, RequestState, World } from "@signalbox/approvals/types"
import { AppError } from "@signalbox/kernel/app-error"
import type { ChangeContext } from "../../router/handler.ts"
import type { Tx } from "../../storage/database.ts"
import type { ApprovalsContext } from "./options.ts"
import { insertRequest, lockRequest, saveRequest, type NewRequest, type RequestRow } from "./request-store.ts"
import type { SignedVote, Waiting } from "./request-effects.ts"
import { signVote } from "./signed-approval.ts"

/** Where the events of a change go. */
export type EventSink = Pick<ChangeContext, "tx" | "emit" | "afterCommit" | "now">

/** The event that carries what people are to be told; its data are `{ notices }`, effects of the machine. */
export const noticesEvent = "approval-notices.requested"

/** @throws approvals.request-not-found */
export async function getLocked(tx: Tx, account: string, id: string): Promise<RequestRow> {
  const row = await lockRequest(tx, account, id)
  if (!row) throw requestNotFound(id)
  return row
}

export function requestNotFound(id: string): AppError {
  return new AppError("approvals.request-not-found", `there is no approval request "${id}" in this account`)
}

/** What a decision may look at: this server's directory, and the time. */
export function worldOf(context: ApprovalsContext, account: string, now: number): World {
  const { directory, principals } = context
  return {
    now,
    calendarOpen: context.isCalendarOpen?.(account, now) ?? true,
    findGroup: (name) => directory.findGroup(account, { name, people: principals, now }),
    delegationsOf: (key) => directory.delegationsOf(account, key),
  }
}

/** Decides about a request that is locked, and stores what was decided. @throws the machine's refusal */
export async function changeRequest(
  context: ApprovalsContext,
  sink: EventSink,
  change: { readonly row: RequestRow; readonly input: Input; readonly signature?: string },
): Promise<RequestRow> {
  const { row, input } = change
  const decision = decide(row.stateData, input, worldOf(context, row.account, sink.now))
  if (decision.outcome === "refused") throw new AppError(decision.code, decision.message)
  const { state: stateData, effects } = decision
  if (stateData === row.stateData && effects.length === 0) return row
  const version = emitEffects(sink, row, effects)
  const saved: RequestRow = {
    ...row,
    ...{ stateData, version, state: stateData.state, attributes: stateData.attributes, decidedAt: stateData.endedAt },
    nextTimerAt: nextTimerAt(stateData),
  }
  await saveRequest(sink.tx, saved, {
    votes: votesOf(context, row, { effects, signature: change.signature }),
    ...findWaitChange(row.stateData, stateData),
    now: sink.now,
  })
  sink.afterCommit(() => context.waiters.changed(row.id))
  sink.afterCommit(() => context.eventsWritten?.())
  return saved
}

export type Submission = Pick<
  NewRequest,
  "id" | "account" | "type" | "title" | "callback" | "notBefore" | "cause" | "depth" | "unmatched" | "held" | "content"
>

/** Makes a request. @throws the machine's refusal */
export async function createRequest(
  context: ApprovalsContext,
  sink: EventSink,
  submission: Submission & { readonly input: Extract<Input, { type: "submit" }> },
): Promise<RequestRow> {
  const { input, ...rest } = submission
  const decision = decide(null, input, worldOf(context, rest.account, sink.now))
  if (decision.outcome === "refused") throw new AppError(decision.code, decision.message)
  const { state: stateData, effects } = decision
  const version = emitEffects(sink, { ...rest, version: 0 }, effects)
  const request: NewRequest = {
    ...rest,
    ...{ stateData, version, submitter: stateData.submitter.key, nextTimerAt: nextTimerAt(stateData) },
  }
  const votes = votesOf(context, request, { effects })
  await insertRequest(sink.tx, request, { votes, gone: [], come: waitsOf(stateData), now: sink.now })
  sink.afterCommit(() => context.eventsWritten?.())
  return {
    ...rest,
    ...{ stateData, version, state: stateData.state, attributes: stateData.attributes },
    ...{ requester: stateData.requester.key, submitter: request.submitter, nextTimerAt: request.nextTimerAt },
    ...{ submittedAt: stateData.submittedAt, decidedAt: stateData.endedAt },
  }
}

/** Tells what happened, and whom to tell; gives the version after it. */
function emitEffects(
  sink: EventSink,
  row: Pick<RequestRow, "id" | "version" | "type" | "title" | "held">,
  effects: readonly Effect[],
): number {
  let { version } = row
  const held = row.held ? { held: true } : {}
  const emit = (type: string, data: object): void => {
    version += 1
    sink.emit({ aggregate: row.id, type, subject: row.id, version, data: { ...data } })
  }
  for (const effect of effects) {
    if (effect.type === "event") emit(effect.name, { ...effect.data, title: row.title, requestType: row.type, ...held })
  }
  const notices = effects
    .filter((effect) => effect.type === "notice")
    .map(({ kind, level, to, text }) => ({ kind, level, to, ...(text === undefined ? {} : { text }) }))
  if (notices.length > 0) emit(noticesEvent, { notices })
  return version
}

function votesOf(
  { signingKey }: ApprovalsContext,
  request: { readonly id: string; readonly account: string },
  { effects, signature }: { readonly effects: readonly Effect[]; readonly signature?: string | undefined },
): SignedVote[] {
  const own = signature === undefined ? {} : { signature }
  return effects.flatMap((effect) =>
    effect.type === "vote"
      ? [{ vote: effect.vote, envelope: JSON.stringify(signVote(signingKey, request, effect.vote)), ...own }]
      : [],
  )
}

function waitsOf(state: RequestState): Waiting[] {
  const { level, who } = listWaits(state)
  return [...new Set(who.map(({ person }) => person.key))].map((key) => ({ key, level }))
}

function findWaitChange(before: RequestState, after: RequestState): { gone: string[]; come: Waiting[] } {
  const old = new Map(waitsOf(before).map(({ key, level }) => [key, level]))
  const present = waitsOf(after)
  const keys = new Set(present.map(({ key }) => key))
  return {
    gone: [...old.keys()].filter((key) => !keys.has(key)),
    come: present.filter(({ key, level }) => old.get(key) !== level),
  }
}
