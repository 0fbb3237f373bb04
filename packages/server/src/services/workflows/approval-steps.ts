/**
 * Steps that wait until people have said yes. Owns who waits here: nodes whose sessions this server has. What is asked is
 * a row before it is asked, and what came of it is in that row, so no process has to live through the wait: whoever asks
 * later, from whichever server, gets the same answer. Looks at the rows of what waits here once a second, and
 * withdraws what no task waits for any more.
 */
import { createHash } from "node:crypto"
import { setTimeout as delay } from "node:timers/promises"
import { contentDigest } from "@signalbox/approvals/content-digest"
import { approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import { stepApprovalsAsk, stepApprovalsCancel } from "@signalbox/contracts/approvals/step-approvals"
import type { OutputOf } from "@signalbox/contracts/operation"
import { AppError, hasCode, isAppError } from "@signalbox/kernel/app-error"
import type { Clock } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"
import type { Logger } from "pino"
import type { OperationCaller, SecretReader, StepAnswer } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import type { Consumer } from "../../storage/dispatcher.ts"
import { askOf, sharedOrdinal, type Asked } from "./approval-ask.ts"
import {
  endApproval,
  findApproval,
  findAskedRun,
  insertApproval,
  isAsked,
  listEnded,
  listForsaken,
  type ApprovalResult,
  type AskedApproval,
} from "./approval-step-store.ts"
import { readFrozenSecrets } from "./frozen-parts.ts"
import type { CallRow, PerformedNode, PerformedRun } from "./step-call-store.ts"
import { secretNamesOf, valuesOf } from "./task-order.ts"

export const approvalStepLimits = {
  /** Tasks that wait here; more are not remembered, and their nodes ask again. */
  waitingMax: 200_000,
  lookMilliseconds: 1_000,
  forsakenPerLook: 100,
  messageLengthMax: 2_000,
  approversMax: 50,
  /** A row whose request is not there by then will have none: whoever wrote it died before it asked. */
  unaskedMilliseconds: 60_000,
} as const

export interface ApprovalStepsOptions {
  readonly sql: Sql
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly operations: OperationCaller
  readonly secrets: SecretReader
}

interface Waiting {
  readonly nodeId: string
  readonly row: CallRow
  readonly name: string
  readonly run: PerformedRun
}

/** One request, and the tasks that wait for it here. */
interface Place {
  readonly approval: AskedApproval
  /** Absent once it was asked. */
  ask: (() => Promise<void>) | undefined
  readonly tasks: Map<string, Waiting>
}

export class ApprovalSteps {
  readonly #options: ApprovalStepsOptions
  readonly #places = new Map<string, Place>()
  readonly #stop = new AbortController()
  #listener: (nodeId: string, answer: StepAnswer) => void = () => undefined
  #wake = Promise.withResolvers<void>()
  #loop: Promise<void> | undefined

  constructor(options: ApprovalStepsOptions) {
    this.#options = options
  }

  /** Who carries answers to nodes that asked before. */
  listen(listener: (nodeId: string, answer: StepAnswer) => void): void {
    this.#listener = listener
  }

  start(): void {
    this.#loop ??= this.#run()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    this.#wake.resolve()
    await this.#loop
  }

  /** What came of it, or undefined while it waits: the listener hears of it then. */
  async perform(
    row: CallRow,
    at: { readonly nodeId: string; readonly run: PerformedRun; readonly node: PerformedNode },
  ): Promise<StepAnswer | undefined> {
    const name = at.run.document.steps[row.step]?.name ?? `step ${row.step + 1}`
    const waiting = { nodeId: at.nodeId, row, name, run: at.run }
    let found: Found
    try {
      found = await this.#find(row, at)
    } catch (error) {
      if (!isAppError(error)) throw error
      return answerOf(waiting, { result: "refused", message: messageOf(error), approvers: [] })
    }
    if ("result" in found) return answerOf(waiting, found)
    const { approval, asked } = found
    if (approval.result) return await this.#answer(waiting, approval.result)
    this.#remember(approval, { asked, waiting })
    return undefined
  }

  /** Something that was asked may have ended. */
  hint(): void {
    this.#wake.resolve()
  }

  /** Follows the requests, and writes down what came of them. */
  consumer(): Consumer {
    const ends = ["approved", "denied", "expired", "cancelled"]
    return {
      name: "workflows.approvals",
      types: ends.map((end) => `approval-request.${end}`),
      // What a step waits for is held; requests of backends are none of ours.
      isWanted: ({ data }) => (data as { readonly held?: boolean }).held === true,
      eventsPerJobMax: 20,
      handle: async ({ account, subject: requestId, cause, depth }) => {
        if (!(await isAsked(this.#options.sql, account, requestId))) return
        const as = { account, service: "workflows", roles: ["viewer"], cause, depth: depth + 1 } as const
        const request = await this.#options.operations.call(approvalRequestsGet, { request: requestId }, as)
        await endApproval(this.#options.sql, { account, requestId }, resultOf(request))
        this.hint()
      },
    }
  }

  async #find(row: CallRow, { run, node }: { run: PerformedRun; node: PerformedNode }): Promise<Found> {
    const { sql, clock, random } = this.#options
    const step = run.document.steps[row.step]
    const approval = step?.approval
    const asked = await findAskedRun(sql, run.account, row.executionId)
    if (!step || !approval || !asked) throw new AppError("workflows.invalid-template", "there is no such step")
    const place = { ...row, ordinal: approval.scope === "execution" ? sharedOrdinal : row.ordinal }
    const wanted = askOf(
      asked,
      {
        number: row.step + 1,
        ...{ step, approval },
        ...(approval.scope === "task" && { node: { id: node.id, name: node.name } }),
        valueOf: valuesOf(run.parameters, node),
        late: { secrets: {}, values: row.values },
      },
      sha256Hex,
    )
    const digest = contentDigest(wanted.content, sha256Hex)
    const known = await findApproval(sql, place)
    if (!known && asked.stops)
      return { result: "cancelled", message: "the run is being stopped: nobody is asked any more", approvers: [] }
    const requestId = newId("approvalRequest", clock, random)
    const kept = known ?? (await insertApproval(sql, { ...place, account: run.account, requestId, digest }))
    if (!kept) throw new Error(`the approval of ${row.key} is not on record`)
    // A second attempt, or a node that lies, must not pass with what nobody has seen.
    if (kept.digest !== digest)
      return { result: "refused", message: `this is not what ${kept.requestId} was asked about`, approvers: [] }
    return { approval: kept, asked: wanted }
  }

  #remember(approval: AskedApproval, { asked, waiting }: { readonly asked: Asked; readonly waiting: Waiting }): void {
    const known = this.#places.get(approval.requestId)
    const waits = [...this.#places.values()].reduce((sum, { tasks }) => sum + tasks.size, 0)
    if (waits >= approvalStepLimits.waitingMax) return
    const place = known ?? { approval, ask: () => this.#ask(approval, { asked, run: waiting.run }), tasks: new Map() }
    this.#places.set(approval.requestId, place)
    const { key, step, try: number } = waiting.row
    place.tasks.set(`${key}/${step}/${number}`, waiting)
    if (!known) this.#wake.resolve()
  }

  /** Asking again finds the same request: it has its id from here. */
  async #ask(approval: AskedApproval, { asked, run }: { asked: Asked; run: PerformedRun }): Promise<void> {
    const { account, requestId, step, executionId, digest } = approval
    const declared = run.document.steps[step]?.approval
    if (!declared) return
    const { template, groups } = declared
    const { cause, depth, createdBy: principal } = run
    const workflow = run.document.name
    try {
      await this.#options.operations.call(
        stepApprovalsAsk,
        { request: requestId, template, groups, workflow, title: asked.title, content: asked.content, principal },
        {
          ...{ account, service: "workflows", roles: ["gate"], cause, causedBy: executionId, depth: depth + 1 },
          once: { key: `step:${requestId}`, bodyHash: digest },
        },
      )
    } catch (error) {
      if (!isAppError(error) || error.entry.retryable || error.entry.kind === "internal") throw error
      const message = messageOf(error)
      await endApproval(this.#options.sql, approval, { result: "refused", message, approvers: [] })
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      const pause = delay(approvalStepLimits.lookMilliseconds, undefined, { signal }).catch(() => undefined)
      await Promise.race([pause, this.#wake.promise])
      this.#wake = Promise.withResolvers()
      if (signal.aborted) return
      await this.#look().catch((error: unknown) => this.#warn(error))
    }
  }

  async #look(): Promise<void> {
    for (const place of this.#places.values()) {
      if (!place.ask) continue
      await place.ask().then(
        () => (place.ask = undefined),
        (error: unknown) => this.#warn(error),
      )
    }
    await this.#withdrawForsaken()
    if (this.#places.size === 0) return
    for (const { requestId, result } of await listEnded(this.#options.sql, [...this.#places.keys()])) {
      const place = this.#places.get(requestId)
      if (!place || !result) continue
      this.#places.delete(requestId)
      for (const waiting of place.tasks.values()) this.#listener(waiting.nodeId, await this.#answer(waiting, result))
    }
  }

  /** With the secrets that the rest of the task needs: its agent may have been restarted since it was given them. */
  async #answer(waiting: Waiting, result: ApprovalResult): Promise<StepAnswer> {
    const answer = answerOf(waiting, result)
    const { account, document, parts } = waiting.run
    const names = result.result === "approved" ? secretNamesOf(document) : []
    if (names.length === 0) return answer
    try {
      return { ...answer, secrets: await readFrozenSecrets(this.#options.secrets, account, { parts, names }) }
    } catch (error) {
      // The node has them, unless its agent was restarted: then the step that needs one says so.
      this.#warn(error)
      return answer
    }
  }

  async #withdrawForsaken(): Promise<void> {
    const { sql, operations, clock } = this.#options
    for (const approval of await listForsaken(sql, approvalStepLimits.forsakenPerLook)) {
      const { account, requestId, executionId } = approval
      const comment = "the run was stopped, or has ended"
      const as = { account, service: "workflows", roles: ["gate"], cause: executionId, depth: 0 } as const
      try {
        await operations.call(stepApprovalsCancel, { request: requestId, comment }, as)
      } catch (error) {
        // Ended in this moment: then its event says how.
        if (hasCode(error, "approvals.request-ended")) continue
        if (!hasCode(error, "approvals.request-not-found")) throw error
        if (approval.askedAt > clock.now() - approvalStepLimits.unaskedMilliseconds) continue
      }
      await endApproval(sql, approval, { result: "cancelled", message: `withdrawn: ${comment}`, approvers: [] })
    }
  }

  #warn(error: unknown): void {
    this.#options.logger.warn({ err: error }, "looking after approvals of steps failed; it is tried again")
  }
}

type Found = ApprovalResult | { readonly approval: AskedApproval; readonly asked: Asked }

const sha256Hex = (text: string): string => createHash("sha256").update(text).digest("hex")

const messageOf = (error: AppError): string => `${error.code}: ${error.message}`

function answerOf({ row, name }: Waiting, { result, message, approvers }: ApprovalResult): StepAnswer {
  const { key, phase, step, try: number } = row
  const isApproved = result === "approved"
  return {
    ...{ key, phase, step, try: number },
    result: {
      name,
      state: isApproved ? "succeeded" : "failed",
      attempts: 1,
      durationMilliseconds: 0,
      changed: false,
      message: message.slice(0, approvalStepLimits.messageLengthMax),
      ...(isApproved ? {} : { denied: true as const }),
    },
    ...(isApproved && { reply: { approvers: [...approvers] } }),
  }
}

/** In words, with who said what. */
function resultOf({ id, state, outcome, votes }: OutputOf<typeof approvalRequestsGet>): ApprovalResult {
  const counted = votes.filter(({ standing }) => standing === "counts" || standing === "kept")
  const nameOf = ({ key, name }: { key: string; name?: string | undefined }): string => name ?? key
  const approvers = [
    ...new Set(counted.filter(({ choice }) => choice === "approve").map(({ member }) => nameOf(member))),
  ]
  const shown = approvers.slice(0, approvalStepLimits.approversMax)
  if (outcome?.result === "approved") {
    const by = shown.length > 0 ? shown.join(", ") : outcome.reason
    return { result: "approved", message: `approved by ${by} (${id})`, approvers: shown }
  }
  const denials = counted.filter(({ choice }) => choice === "deny")
  const said = denials.map(({ member, comment }) => `${nameOf(member)}${comment ? ` ("${comment}")` : ""}`).join(", ")
  const why = said || (outcome?.by ? nameOf(outcome.by) : (outcome?.reason ?? "nobody"))
  const result = state === "expired" || state === "cancelled" ? state : "denied"
  const words = { expired: "nobody said yes in time", cancelled: `withdrawn by ${why}`, denied: `denied by ${why}` }
  const comment = outcome?.comment && denials.length === 0 ? `: ${outcome.comment}` : ""
  return { result, message: `${words[result]}${comment} (${id})`, approvers: [] }
}
