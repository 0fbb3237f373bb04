/**
 * Runs held calls once they are approved. An event may come twice, two servers may run the same call, and this process
 * may die on any line. So a call has the idempotency key of its caller, its transaction and the one that records its end
 * lock its row, and whoever repeats it or is refused first asks whether it was carried out: what it would meet by then is
 * no longer what was approved. Called by the job queue alone.
 */
import { permissionsOf } from "@signalbox/contracts/identity/roles"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import type { Clock } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"
import type { Logger } from "pino"
import type { Caller } from "../../router/handler.ts"
import type {
  ChangeFreezes,
  PrincipalDirectory,
  Sealer,
  StandingCaller,
  StandingRecord,
  WindowState,
} from "../../router/ports.ts"
import { standingKindOf } from "../../router/standing-kind.ts"
import { addJob, type BackgroundTask, type CronTask } from "../../storage/background-queue.ts"
import type { Database, Sql, Tx } from "../../storage/database.ts"
import type { Consumer } from "../../storage/dispatcher.ts"
import { appendEvents } from "../../storage/outbox.ts"
import { heldInputUse } from "./held-gate.ts"
import { decideRunTime } from "./held-model.ts"
import {
  addVersion,
  endHeld,
  findForgottenHeld,
  findHeld,
  lockApprovedHeld,
  markApproved,
  markCalled,
  type HeldEnd,
  type HeldRow,
} from "./held-store.ts"
import { lockRequest } from "./request-store.ts"

export interface HeldRunnerOptions {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly database: Database
  readonly standing: StandingCaller & StandingRecord
  readonly principals: PrincipalDirectory
  readonly windows: WindowState
  readonly freezes: ChangeFreezes
  readonly sealer: Sealer
  /** Wakes those who wait for what comes of a call. */
  hint(requestId: string): void
}

const runTaskName = "approvals.run-held"
const reasonCharactersMax = 2_000
const forgottenMilliseconds = 60_000
const forgottenMax = 500
/** No timer of the queue lies further ahead; then it is asked again. */
const laterMillisecondsMax = 24 * 3_600_000
/** So long an approved call that fails for reasons of ours is tried again. */
const givenUpMilliseconds = 12 * 3_600_000

interface Place {
  readonly account: string
  readonly requestId: string
}

/** What an ended request means for the call that waited for it. */
export function heldConsumer(options: HeldRunnerOptions): Consumer {
  const ends = ["approval-request.denied", "approval-request.expired", "approval-request.cancelled"]
  return {
    name: "approvals.held",
    types: ["approval-request.approved", ...ends],
    isWanted: ({ data }) => (data as { held?: boolean }).held === true,
    async handle({ account, subject: requestId, type }) {
      const { database, clock } = options
      if (type === "approval-request.approved") {
        await markApproved(database, account, requestId)
        await runHeld(options, { account, requestId })
      } else {
        const end = { state: "discarded" } as const
        const place = { account, requestId }
        await database.transaction((tx) => endHeld(tx, place, { end, now: clock.now() }))
      }
      options.hint(requestId)
    },
  }
}

export function heldTask(options: HeldRunnerOptions): BackgroundTask {
  return { name: runTaskName, run: (payload) => runHeld(options, payload as Place) }
}

export function heldSweep({ clock }: HeldRunnerOptions): CronTask {
  return {
    name: "approvals.held-sweep",
    cron: "* * * * *",
    async run({ database, signal }) {
      const before = clock.now() - forgottenMilliseconds
      for (const place of await findForgottenHeld(database, { before, limit: forgottenMax })) {
        if (signal.aborted) return
        await askForRun(database, place)
      }
    },
  }
}

function askForRun(database: Database, place: Place, runAt?: number): Promise<void> {
  return addJob(database, {
    task: runTaskName,
    key: place.requestId,
    payload: place,
    ...(runAt === undefined ? {} : { runAt }),
  })
}

/** Throws where it has to be tried again. */
export async function runHeld(options: HeldRunnerOptions, place: Place): Promise<void> {
  const { database, clock, windows, freezes } = options
  const held = await findHeld(database, place.account, place.requestId)
  if (held?.state !== "approved") return
  const now = clock.now()
  const stateOfWindow = (name: string) => windows.stateOf(place.account, [name], now)
  const closed = freezes.find(place.account, held, now)
  const time = decideRunTime(held, { now, closed, stateOfWindow })
  if (time.kind === "later") return askForRun(database, place, Math.min(time.at, now + laterMillisecondsMax))
  const end: HeldEnd =
    time.kind === "now"
      ? await call(options, held)
      : failed("calendars.window-not-found", `the window "${held.window}" does not open any more`)
  await record(options, held, end)
  options.hint(held.requestId)
}

async function call(options: HeldRunnerOptions, held: HeldRow): Promise<HeldEnd> {
  const { clock, database, standing, sealer } = options
  const { account, requestId, operation, digest, bodyHash, idempotencyKey, cause, depth } = held
  const now = clock.now()
  const done = held.calledAt === null ? undefined : await findDone(options, database, held)
  if (done) return done
  try {
    const caller = findCaller(options, held)
    const input: unknown = JSON.parse(sealer.unseal({ account, use: heldInputUse, id: bodyHash }, held.sealed ?? ""))
    await markCalled(database, held, now)
    const reply = await standing.callStanding({
      ...{ operation, input, caller, idempotencyKey, cause },
      causedBy: requestId,
      depth: depth + 1,
      approval: { request: requestId, digest, bodyHash, guard: (tx) => checkApproved(tx, held) },
    })
    return { state: "done", result: reply.status === "done" ? reply.value : null }
  } catch (error) {
    const final = held.calledAt !== null && now - held.calledAt > givenUpMilliseconds
    if (isAppError(error) && (final || !error.entry.retryable))
      return failed(error.code, error.message, error.details["reply"])
    options.logger.error({ err: error, request: requestId }, "a held operation failed; it is tried again")
    if (final) return failed("request.internal", "the call failed inside Signalbox")
    throw error
  }
}

/** @throws approvals.request-ended */
export async function checkApproved(tx: Tx, held: Pick<HeldRow, "account" | "requestId">): Promise<void> {
  if (await lockApprovedHeld(tx, held)) return
  throw new AppError("approvals.request-ended", `the call of ${held.requestId} was settled meanwhile`)
}

/** What came of the call, where it was carried out already; its reply is kept for a day, its audit record for good. */
async function findDone({ standing }: HeldRunnerOptions, sql: Sql, held: HeldRow): Promise<HeldEnd | undefined> {
  const { account, requestId, principal, idempotencyKey: key, bodyHash, cause } = held
  const reply = await standing.findStandingReply(sql, { account, principal, key, bodyHash })
  if (reply) return { state: "done", result: reply.value }
  const subject = await standing.findStandingChange(sql, { account, cause, causedBy: requestId })
  return subject === undefined ? undefined : { state: "done", result: null }
}

function failed(code: string, message: string, result?: unknown): HeldEnd {
  const state = code === outcomeUnknown ? "outcome-unknown" : "failed"
  return {
    state,
    error: { code, message: message.slice(0, reasonCharactersMax) },
    ...(result === undefined ? {} : { result }),
  }
}

const outcomeUnknown = "gateway.outcome-unknown"

/**
 * Of a call to a service outside that was sent: whatever refuses it by now doesn't say that it was not done.
 *
 * @throws request.idempotency-in-flight where another server sends it at this moment
 */
async function findSent({ standing }: HeldRunnerOptions, sql: Sql, held: HeldRow): Promise<HeldEnd | undefined> {
  const { account, requestId, operation, principal, idempotencyKey: key } = held
  const sent = await standing.findStandingSend(sql, { account, principal, key })
  if (sent === "under-way")
    throw new AppError("request.idempotency-in-flight", `the call of ${requestId} is under way on another server`)
  return sent && failed(outcomeUnknown, `${operation} was sent, and nobody knows what came of it`)
}

/** The principal with those of the roles it called with that it still has (D6). */
function findCaller({ principals, clock }: HeldRunnerOptions, held: HeldRow): Caller {
  const { account, author, principal } = held
  const found = principals.findPrincipal(account, author ?? principal, clock.now())
  if (!found)
    throw new AppError(
      "identity.permission-denied",
      `${author ?? principal}, in whose name the call was to run, was disabled, revoked or has expired`,
    )
  const roles = held.roles.filter((role) => found.roles.includes(role))
  const rights = { roles, permissions: permissionsOf(roles), ...(held.nodes === null ? {} : { nodes: held.nodes }) }
  if (author === null) return { ...found, ...rights }
  return { account, principal, kind: standingKindOf(principal), ...rights, author }
}

async function record(options: HeldRunnerOptions, held: HeldRow, end: HeldEnd): Promise<void> {
  const { clock, database } = options
  await database.transaction(async (tx) => {
    // Whoever changes both rows locks the request first.
    await lockRequest(tx, held.account, held.requestId)
    if (!(await lockApprovedHeld(tx, held))) return
    const known =
      end.state === "failed" ? ((await findDone(options, tx, held)) ?? (await findSent(options, tx, held)) ?? end) : end
    if (await endHeld(tx, held, { end: known, now: clock.now() })) await tell(options, tx, { held, end: known })
  })
}

async function tell(
  { clock, random }: HeldRunnerOptions,
  tx: Tx,
  { held, end }: { readonly held: HeldRow; readonly end: HeldEnd },
): Promise<void> {
  const { account, requestId, operation, digest, cause, depth } = held
  await appendEvents(tx, [
    {
      id: newId("event", clock, random),
      account,
      aggregateId: requestId,
      type: end.state === "done" ? "approval-request.ran" : "approval-request.run-failed",
      subject: requestId,
      subjectVersion: await addVersion(tx, held),
      cause,
      causedBy: requestId,
      depth: depth + 1,
      principal: held.principal,
      data: { operation, digest, ...end.error },
    },
  ])
}
