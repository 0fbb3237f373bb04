/**
 * Performs the steps of tasks that are the server's: HTTP calls and operations. Owns the calls that are under way here.
 * A node asks, again after each new session, until it has the answer; each call is a row, written before the call leaves
 * and completed before the node is answered. What another process left incomplete is performed again where that is safe
 * (operations: the router carries a key out once; HTTP: `retrySafe`), else its outcome is unknown and the step fails.
 */
import { setTimeout as delay } from "node:timers/promises"
import type { KeptOutput, StepResult } from "@signalbox/contracts/fleet/agent-protocol"
import { parseAttemptKey } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import { SecretMask } from "@signalbox/masking/secret-mask"
import { toInstant, type Clock } from "@signalbox/kernel/clock"
import type { Logger } from "pino"
import type { Egress } from "../../egress/egress.ts"
import type { PrincipalDirectory, SecretReader, StandingCaller, StepAnswer, StepRequest } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import type { ApprovalSteps } from "./approval-steps.ts"
import { readFrozenSecrets } from "./frozen-parts.ts"
import { findCall, resolveCall, secretsOf, type ServerCall } from "./server-call.ts"
import {
  claimCall,
  findPerformedNode,
  findRun,
  keepAnswer,
  type CallRow,
  type FoundCall,
  type PerformedNode,
  type PerformedRun,
} from "./step-call-store.ts"
import { valuesOf } from "./task-order.ts"

export const serverStepLimits = {
  /** Calls under way at once; more requests are dropped, and the nodes ask again. */
  callsMax: 500,
  /** How often the row of a call that another server performs is looked at. */
  lookAgainMilliseconds: 500,
  responseBytesMax: 1024 * 1024,
  /** Of a reply's body, as it is shown. */
  shownLengthMax: 16 * 1024,
  /** Of a reply's body, as the step's outputs see it. */
  replyLengthMax: 256 * 1024,
  /** Spellings of secrets that are looked for, as agents do. */
  maskPatternsMax: 4_000,
} as const

/** Steps that wait for people have rows and answers of their own. */
export type ApprovalPerformer = Pick<ApprovalSteps, "perform">

/** Where calls go: the parts of the server that carry them out. */
export interface StepPorts {
  readonly egress: Egress
  readonly standing: StandingCaller
  readonly principals: PrincipalDirectory
  readonly secrets: SecretReader
}

export interface ServerStepsOptions extends StepPorts {
  readonly sql: Sql
  readonly clock: Clock
  readonly logger: Logger
  /** This process of the server. */
  readonly performer: string
  readonly approvals: ApprovalPerformer
}

export interface DescribedStep {
  readonly name: string
  readonly hasUndo: boolean
}

interface Carried {
  readonly result: StepResult
  readonly reply?: Readonly<Record<string, unknown>>
}

export class ServerSteps {
  readonly #options: ServerStepsOptions
  readonly #stop = new AbortController()
  readonly #underWay = new Map<string, Promise<StepAnswer | undefined>>()

  constructor(options: ServerStepsOptions) {
    this.#options = options
  }

  /** Performs a step, or gives what came of it; undefined where nobody waits for it, or nothing can be said now. */
  perform(nodeId: string, request: StepRequest): Promise<StepAnswer | undefined> {
    const id = `${request.key}/${request.phase}/${request.step}/${request.try}`
    const before = this.#underWay.get(id)
    if (before) return before
    if (this.#underWay.size >= serverStepLimits.callsMax) return Promise.resolve(undefined)
    const call = this.#perform(nodeId, request)
      .catch((error: unknown) => {
        this.#options.logger.warn({ err: error, step: id }, "performing a step failed; the node asks again")
        return undefined
      })
      .finally(() => this.#underWay.delete(id))
    this.#underWay.set(id, call)
    return call
  }

  /** The steps of a run, by their numbers; none where the run is gone. */
  async describe(executionId: string): Promise<DescribedStep[]> {
    const run = await findRun(this.#options.sql, executionId)
    if (!run) return []
    return run.document.steps.map((step, index) => ({
      name: step.name ?? `step ${index + 1}`,
      hasUndo: findCall(run.document, { step: index, phase: "rollback" }) !== undefined,
    }))
  }

  /** Waits for the calls that are under way, and for no other server's. */
  async idle(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#underWay.values())
  }

  async #perform(nodeId: string, request: StepRequest): Promise<StepAnswer | undefined> {
    const { sql, performer } = this.#options
    const row: CallRow = { ...request, ...parseAttemptKey(request.key) }
    const run = await findRun(sql, row.executionId)
    const node = run && (await findPerformedNode(sql, row, run.account))
    if (!run || !node?.waits || node.performedBy !== nodeId) return undefined
    if (row.phase === "task" && run.document.steps[row.step]?.approval)
      return await this.#options.approvals.perform(row, { nodeId, run, node })
    const found = await this.#claim(row, run.account)
    if (!found || found.answer) return found?.answer ?? undefined
    const isOurs = found.isNew || found.performer === performer
    const carried = await this.#carryOut(row, { run, node, mayBeRepeat: !isOurs })
    const { key, phase, step } = request
    const answer: StepAnswer = { key, phase, step, try: request.try, ...carried }
    await keepAnswer(sql, row, { account: run.account, answer })
    return answer
  }

  /** What is on record of a step; while another server that lives performs it, its answer is waited for. */
  async #claim(row: CallRow, account: string): Promise<FoundCall | undefined> {
    const { sql, performer } = this.#options
    const { signal } = this.#stop
    while (!signal.aborted) {
      const found = await claimCall(sql, row, { account, performer })
      if (found.answer || found.performer === performer || !found.performerLives) return found
      await delay(serverStepLimits.lookAgainMilliseconds, undefined, { signal }).catch(() => {})
      if (!(await findPerformedNode(sql, row, account))?.waits) return undefined
    }
    return undefined
  }

  async #carryOut(
    row: CallRow,
    at: { readonly run: PerformedRun; readonly node: PerformedNode; readonly mayBeRepeat: boolean },
  ): Promise<Carried> {
    const { run, node } = at
    const { clock } = this.#options
    const startedAt = clock.now()
    let name = run.document.steps[row.step]?.name ?? `step ${row.step + 1}`
    let mask = (text: string): string => text
    const ended = (state: StepResult["state"], more: Omit<Carried, "result"> & Partial<StepResult> = {}): Carried => {
      const { reply, ...rest } = more
      const durationMilliseconds = Math.max(0, Math.round(clock.now() - startedAt))
      const result = { name, state, attempts: 1, startedAt: toInstant(startedAt), durationMilliseconds, ...rest }
      return { result, ...(reply && { reply }) }
    }
    try {
      const secrets = await this.#readSecrets(run, row)
      const found = new SecretMask(Object.values(secrets), serverStepLimits.maskPatternsMax)
      mask = (text) => found.text(text)
      const call = resolveCall(run.document, row, {
        valueOf: valuesOf(run.parameters, node),
        late: { secrets, values: row.values },
      })
      if (!call) return ended("failed", { message: "the server has no such step to perform" })
      ;({ name } = call)
      if (at.mayBeRepeat && !call.retrySafe)
        return ended("failed", {
          message: "the server stopped during this call: whether it was carried out is not known",
        })
      const done = call.kind === "http" ? await this.#send(call, mask) : await this.#call(call, row, { run, mask })
      return ended(done.state, done.more)
    } catch (error) {
      if (!isAppError(error)) throw error
      return ended(error.code === "egress.timeout" ? "timed-out" : "failed", { message: messageOf(error, mask) })
    }
  }

  async #readSecrets(run: PerformedRun, row: CallRow): Promise<Record<string, string>> {
    const names = secretsOf(run.document, row)
    return readFrozenSecrets(this.#options.secrets, run.account, { parts: run.parts, names })
  }

  async #send(call: Extract<ServerCall, { kind: "http" }>, mask: (text: string) => string) {
    const { method, url, headers, body, timeoutMilliseconds } = call
    const response = await this.#options.egress.request({
      ...{ method, url, headers, timeoutMilliseconds },
      ...(body === undefined ? {} : { body }),
      responseBytesMax: serverStepLimits.responseBytesMax,
    })
    const text = mask(response.body.toString("utf8"))
    const json = parseJson(text)
    const expected = call.isExpected(response.status)
    const reply = {
      status: response.status,
      headers: Object.fromEntries(Object.entries(response.headers).map(([header, value]) => [header, mask(value)])),
      body: text.slice(0, serverStepLimits.replyLengthMax),
      ...(json !== undefined && text.length <= serverStepLimits.replyLengthMax ? { json } : {}),
    }
    const message = `${method} ${new URL(url).host} answered with ${response.status}`
    return {
      state: expected ? ("succeeded" as const) : ("failed" as const),
      more: { stdout: shown(text), reply, message: mask(message) },
    }
  }

  async #call(
    call: Extract<ServerCall, { kind: "operation" }>,
    row: CallRow,
    { run, mask }: { readonly run: PerformedRun; readonly mask: (text: string) => string },
  ) {
    const { standing, principals, clock } = this.#options
    const caller = principals.findPrincipal(run.account, run.createdBy, clock.now())
    if (!caller)
      throw new AppError(
        "identity.permission-denied",
        `${run.createdBy}, who started the run, may not call anything any more`,
      )
    const reply = await standing.callStanding({
      operation: call.operation,
      input: call.input,
      caller: run.scope === null ? caller : { ...caller, nodes: run.scope },
      idempotencyKey: `${row.key}/${row.phase}/${row.step}/${row.try}`,
      cause: run.cause,
      causedBy: row.executionId,
      depth: run.depth + 1,
    })
    if (reply.status === "held")
      return { state: "failed" as const, more: { message: `${call.operation} is held until it is approved` } }
    const text = mask(JSON.stringify(reply.value ?? null))
    return {
      state: "succeeded" as const,
      more: {
        stdout: shown(text),
        reply: { output: parseJson(text) ?? null },
        message: `${call.operation} was called`,
      },
    }
  }
}

function messageOf(error: AppError, mask: (text: string) => string): string {
  return mask(`${error.code}: ${error.message}`).slice(0, 2000)
}

function shown(text: string): KeptOutput {
  const head = text.slice(0, serverStepLimits.shownLengthMax)
  return { head, tail: "", bytes: Buffer.byteLength(text), truncated: head.length < text.length }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
