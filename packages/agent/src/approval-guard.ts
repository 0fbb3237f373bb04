/**
 * Refuses what nobody approved, for nodes whose policy asks for that. Believes no server: of what one sends it counts
 * only what trusted members signed, and an order only where it is the one that they signed for this node, once.
 */
import { checkMembers, findEachNodePlan, type CheckedApproval } from "@signalbox/attestation/approval-bundle"
import { isProven } from "@signalbox/attestation/merkle-tree"
import { findDifference, shownAt } from "@signalbox/attestation/order-template"
import type { ApprovalTrust, EachNodePlan, TargetProof } from "@signalbox/contracts/approvals/signed-votes"
import { parseAttemptKey, type CommandOrder, type TaskOrder } from "@signalbox/contracts/fleet/agent-protocol"
import type { OutputOf } from "@signalbox/contracts/operation"
import type { executionsEvidence } from "@signalbox/contracts/workflows/execution-evidence"
import type { Clock } from "@signalbox/kernel/clock"
import { errorText } from "./agent-logger.ts"
import { ApprovalRecord } from "./approval-record.ts"

type Evidence = OutputOf<typeof executionsEvidence>

export interface ApprovalGuardOptions {
  readonly dataDirectory: string
  /** This machine's own clock: a server's could be turned back. */
  readonly clock: Clock
  readonly identity: { readonly account: string; readonly node: string; readonly name: string }
  /** What the server has to show of a run; of one of its targets where `ordinal` is given. */
  readonly fetchEvidence: (execution: string, ordinal: number | undefined, stop: AbortSignal) => Promise<Evidence>
}

/** An order with what names it. */
export interface OrderToJudge {
  readonly key: string
  readonly order: TaskOrder
  readonly startBefore: number
  readonly stop: AbortSignal
}

export interface ProbeToJudge {
  /** Begins with the execution that it is asked for. */
  readonly id: string
  readonly command: CommandOrder
  readonly stop: AbortSignal
}

/** What a probe's id begins with. */
const probeExecution = /^(exe_[0-9a-z]{26}):/

export class ApprovalGuard {
  readonly #options: ApprovalGuardOptions
  readonly #record: ApprovalRecord

  constructor(options: ApprovalGuardOptions) {
    this.#options = options
    this.#record = new ApprovalRecord(options.dataDirectory)
  }

  /** Why an order is refused; undefined where trusted members approved it. Never throws. */
  async refuses(trust: ApprovalTrust, judged: OrderToJudge): Promise<string | undefined> {
    const { executionId: execution, ordinal, attempt } = parseAttemptKey(judged.key)
    return await this.#judge(async () => {
      const evidence = await this.#options.fetchEvidence(execution, ordinal, judged.stop)
      const approved = this.#check(trust, evidence)
      if (typeof approved === "string") return approved
      const target = findTarget(approved.plan, evidence.proof, this.#options.identity.node)
      if (typeof target === "string") return target
      const fault = findOrderFault(approved.plan, { attempt, target, order: judged.order })
      if (fault !== undefined) return fault
      const use = { id: target.id, ordinal, attempt, startBefore: judged.startBefore }
      return await this.#claim(approved, { execution, target: use })
    })
  }

  /** Why a health check's command is refused, likewise. */
  async refusesProbe(trust: ApprovalTrust, { id, command, stop }: ProbeToJudge): Promise<string | undefined> {
    const execution = probeExecution.exec(id)?.[1]
    if (execution === undefined) return "the health check names no run whose approval could cover it"
    return await this.#judge(async () => {
      const approved = this.#check(trust, await this.#options.fetchEvidence(execution, undefined, stop))
      if (typeof approved === "string") return approved
      const { probe } = approved.plan
      const { node, name } = this.#options.identity
      const isAsked = probe !== undefined && (probe.on === node || probe.on === name)
      if (!isAsked || !("shell" in command) || command.shell !== probe.command)
        return "the health check is not the one that was approved"
      return await this.#claim(approved, { execution })
    })
  }

  async #judge(judge: () => Promise<string | undefined>): Promise<string | undefined> {
    try {
      return await judge()
    } catch (error) {
      return `the approval can't be checked: ${errorText(error)}`
    }
  }

  #check(trust: ApprovalTrust, { approval }: Evidence): Approved | string {
    const check = checkMembers(approval, trust, this.#options.clock.now())
    if (!check.ok) return `there is no valid approval: ${check.fault.message}`
    const { account } = this.#options.identity
    if (check.value.account !== account) return `the approval is of the account ${check.value.account}, not ${account}`
    const plan = findEachNodePlan(check.value.content)
    return plan ? { ...check.value, plan } : "what was approved says not what each node does"
  }

  async #claim(
    { request, digest }: CheckedApproval,
    use: Parameters<ApprovalRecord["claim"]>[1],
  ): Promise<string | undefined> {
    return await this.#record.claim(`${request} ${digest}`, use, this.#options.clock.now())
  }
}

type Approved = CheckedApproval & { readonly plan: EachNodePlan }

function findTarget(
  { targetsRoot, targetsCount }: EachNodePlan,
  proof: TargetProof | undefined,
  node: string,
): TargetProof["target"] | string {
  if (targetsRoot === undefined) return "the approved run has more targets than can be proven"
  if (!proof || !isProven(proof.target, proof, { root: targetsRoot, size: targetsCount }))
    return "this node is not among the targets that were approved"
  const { target } = proof
  return (target.runner ?? target.id) === node ? target : `the approved target ${target.id} is another node's`
}

/** Where an order is another than the approved one. Pure. */
function findOrderFault(
  { order: template, brackets, attemptsMax }: EachNodePlan,
  of: { readonly attempt: number; readonly target: TargetProof["target"]; readonly order: TaskOrder },
): string | undefined {
  if (of.attempt > attemptsMax) return `attempt ${of.attempt} is one more than the ${attemptsMax} that were approved`
  if (!template) return "the approved order is too long to be compared"
  const place = findDifference(template, of.order, { brackets, target: of.target })
  if (place === undefined) return undefined
  return `the order is not what was approved: ${place} is ${shownAt(of.order, place)}, not ${shownAt(template, place)}`
}
