/**
 * Freezes the targets of an execution (D13): resolves them once, puts them into their order, writes them in batches and
 * digests the ids as they pass. An owner that dies on the way leaves a part, which the next one removes and begins anew.
 */
import { createHash } from "node:crypto"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import type { OperationCaller } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import type { FrozenPlan, WindowNode } from "./batch-store.ts"
import type { ClaimedExecution, Wished } from "./claimed-execution.ts"
import { resolveStoredLimits } from "./limit-choice.ts"
import { findOutside, outsideScope } from "./node-reach.ts"
import { freezePlan, insertTargets, refreshStatistics, removeTargets } from "./plan-store.ts"
import { serverRunner } from "./server-tasks.ts"
import { paceOf, type RunStrategy } from "./strategy-model.ts"
import { orderByDomain, orderById } from "./target-order.ts"
import {
  resolveFollowed,
  resolveTargets,
  targetsPerBatch,
  type ResolvedNode,
  type TargetNode,
  type TargetSource,
  type Vanished,
} from "./target-source.ts"

/** Batches written beside one another, each on a connection of its own. */
const insertsAtOnceMax = 2

/** What of a node's tags a run keeps: those that templates name, and those that conditions name if it has them. */
export interface TagChoice {
  readonly tagKeys: readonly string[]
  readonly optionalTagKeys: readonly string[]
  /** Some step needs an agent to run it. */
  readonly needsAgent: boolean
}

/**
 * What can't be carried out on a target is refused here, before anything runs: steps that need an agent where nothing
 * has one, a missing tag that a template names.
 *
 * @throws executions.needs-agent, workflows.invalid-template
 */
export function pickTags(node: ResolvedNode, choice: TagChoice): Record<string, string> | undefined {
  const { tagKeys, optionalTagKeys, needsAgent } = choice
  if (needsAgent && node.runner === serverRunner)
    throw new AppError("executions.needs-agent", `${node.name} has no agent and no runner, and a step needs one`)
  if (tagKeys.length === 0 && optionalTagKeys.length === 0) return undefined
  const picked: Record<string, string> = {}
  for (const key of tagKeys) {
    const value = Object.hasOwn(node.tags, key) ? node.tags[key] : undefined
    if (value === undefined)
      throw new AppError("workflows.invalid-template", `node ${node.name} has no tag "${key}", which a template names`)
    picked[key] = value
  }
  for (const key of optionalTagKeys) {
    const value = Object.hasOwn(node.tags, key) ? node.tags[key] : undefined
    if (value !== undefined) picked[key] = value
  }
  return picked
}

/** So many nodes of a plan are handed on as they are; what follows is read again when it is needed. */
export const plannedNodesKeptMax = 20_000

export type Planned =
  | {
      readonly kind: "planned"
      readonly targetsCount: number
      readonly width: number
      readonly errorsMax: number
      /** By ordinal; absent without failure domains. */
      readonly domains?: Int32Array
      /** The first targets, by their ordinals. */
      readonly nodes: readonly WindowNode[]
    }
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "lost" }

export interface PlanningOptions {
  readonly sql: Sql
  readonly operations: OperationCaller
  readonly claimed: ClaimedExecution
  readonly plan: FrozenPlan
  readonly strategy: RunStrategy
  readonly tags: TagChoice
}

export async function planTargets(options: PlanningOptions): Promise<Planned> {
  const { sql, claimed } = options
  while ((await removeTargets(sql, claimed, targetsPerBatch)) > 0);
  const writer = new TargetWriter(options)
  try {
    return await freezeTargets(options, writer)
  } catch (error) {
    // What another try can't mend ends the run; everything else goes up and is tried again.
    if (!isAppError(error) || error.entry.retryable || error.entry.kind === "internal") throw error
    await writer.settle()
    while ((await removeTargets(sql, claimed, targetsPerBatch)) > 0);
    return { kind: "refused", reason: `planning failed: ${error.message}; nothing was started` }
  } finally {
    await writer.settle()
  }
}

/** Writes targets in the order in which it gets them, a few batches beside one another. */
class TargetWriter {
  readonly #options: PlanningOptions
  readonly #inserts: Array<Promise<Wished | undefined>> = []
  readonly kept: WindowNode[] = []
  count = 0

  constructor(options: PlanningOptions) {
    this.#options = options
  }

  /** Says whether to go on: "lost" where another owner has the execution, "stop" where it is to be aborted. */
  async write(page: readonly TargetNode[]): Promise<"go" | "lost" | "stop"> {
    const { sql, claimed, plan, tags } = this.#options
    if (this.count + page.length > plan.targetsMax)
      throw new AppError("executions.blast-radius", `the targets have become more than ${plan.targetsMax} nodes`)
    if (plan.scope !== null) {
      const outside = findOutside(plan.scope, page)
      if (outside.length > 0) throw outsideScope(plan.scope, outside, true)
    }
    const nodes = page.map((node) => ({ ...node, tags: pickTags(node, tags) ?? null }))
    const rows = nodes.map((node) => ({ ...node, tags: node.tags === null ? null : JSON.stringify(node.tags) }))
    const insert = insertTargets(sql, claimed, { ordinal: this.count, nodes: rows })
    // Awaited later; a failure before then must not count as unheard.
    insert.catch(() => undefined)
    this.#inserts.push(insert)
    for (const [index, { id, name, tags: kept, origin, runner }] of nodes
      .slice(0, plannedNodesKeptMax - this.kept.length)
      .entries()) {
      const from = origin && { originOrdinal: origin.ordinal, originAttempt: origin.attempt }
      this.kept.push({ ordinal: this.count + index, id, name, tags: kept, ...from, ...(runner && { runner }) })
    }
    this.count += nodes.length
    if (this.#inserts.length < insertsAtOnceMax) return "go"
    const wished = await this.#inserts.shift()
    if (!wished) return "lost"
    return wished.wish.startsWith("abort") ? "stop" : "go"
  }

  /** Waits for all; false where the lease was lost. */
  async finish(): Promise<boolean> {
    return !(await Promise.all(this.#inserts)).includes(undefined)
  }

  /** Leaves nothing behind that could write after the next try has begun. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#inserts)
  }
}

interface Written {
  readonly digest: string
  readonly domains?: Int32Array
  readonly vanished?: Vanished
}

async function freezeTargets(options: PlanningOptions, writer: TargetWriter): Promise<Planned> {
  const { sql, claimed, plan, strategy } = options
  const source = plan.targets as TargetSource
  const inOrder = "follow" in source || strategy.failureDomain !== undefined
  const written = inOrder ? await writeInOrder(options, writer) : await writeStream(options, writer)
  if (written === "lost" || !(await writer.finish())) return { kind: "lost" }
  const targetsCount = writer.count
  if (targetsCount === 0) throw new AppError("executions.no-targets", "the targets match no node any more")
  const { digest, domains, vanished } = written
  if (plan.expectedDigest !== null && plan.expectedDigest !== digest)
    throw new AppError("executions.plan-changed", "the targets are others now than those of the plan")
  // For the statements to come; autovacuum does it too, only later.
  refreshStatistics(sql, targetsCount).catch(() => undefined)
  const { width, errorsMax } = resolveStoredLimits(claimed, targetsCount)
  const wavesCount = paceOf(strategy, targetsCount).waves?.length ?? 1
  const frozen = await freezePlan(sql, claimed, { targetsCount, width, errorsMax, digest, wavesCount, vanished })
  const found = { targetsCount, width, errorsMax, nodes: writer.kept, ...(domains && { domains }) }
  return frozen ? { kind: "planned", ...found } : { kind: "lost" }
}

const callOf = ({ account, cause, id, depth }: ClaimedExecution) => ({ account, cause, causedBy: id, depth: depth + 1 })

/** In the order of the node ids, page by page, as they come. */
async function writeStream(
  { operations, claimed, plan }: PlanningOptions,
  writer: TargetWriter,
): Promise<Written | "lost"> {
  const digest = createHash("sha256")
  let last = ""
  for await (const page of resolveTargets(
    operations,
    plan.targets as Exclude<TargetSource, { follow: object }>,
    callOf(claimed),
  )) {
    const nodes = page.filter((node) => node.id > last)
    last = nodes.at(-1)?.id ?? last
    digest.update(nodes.map((node) => `${node.id}\n`).join(""))
    const next = await writer.write(nodes)
    if (next === "lost") return "lost"
    if (next === "stop") break
  }
  return { digest: digest.digest("hex") }
}

/** All targets first, where their order follows from all of them. */
async function writeInOrder(options: PlanningOptions, writer: TargetWriter): Promise<Written | "lost"> {
  const { nodes, vanished } = await collectTargets(options)
  const { failureDomain } = options.strategy
  const ordered = failureDomain === undefined ? { nodes } : orderByDomain(nodes, failureDomain)
  const digest = digestOf(nodes)
  for (let from = 0; from < ordered.nodes.length; from += targetsPerBatch) {
    const next = await writer.write(ordered.nodes.slice(from, from + targetsPerBatch))
    if (next === "lost") return "lost"
    if (next === "stop") break
  }
  const stopped = writer.count < ordered.nodes.length
  const domains = "domains" in ordered && !stopped ? { domains: ordered.domains } : {}
  return { digest, ...domains, ...(vanished && vanished.count > 0 && { vanished }) }
}

async function collectTargets({
  sql,
  operations,
  claimed,
  plan,
}: PlanningOptions): Promise<{ nodes: readonly TargetNode[]; vanished?: Vanished }> {
  const source = plan.targets as TargetSource
  const call = callOf(claimed)
  if ("follow" in source)
    return resolveFollowed({ sql, operations }, source.follow, { call, targetsMax: plan.targetsMax })
  const nodes: TargetNode[] = []
  for await (const page of resolveTargets(operations, source, call)) {
    for (const node of page) nodes.push(node)
    if (nodes.length > plan.targetsMax)
      throw new AppError("executions.blast-radius", `the targets have become more than ${plan.targetsMax} nodes`)
  }
  return { nodes: orderById(nodes) }
}

/** SHA-256 over the sorted node ids, one a line. */
export function digestOf(nodes: readonly TargetNode[]): string {
  const digest = createHash("sha256")
  for (const { id } of orderById(nodes)) digest.update(`${id}\n`)
  return digest.digest("hex")
}
