/**
 * Freezes the targets of an execution (D13): resolves them once, in the order of their ids, writes them in batches and
 * digests the ids as they pass. An owner that dies on the way leaves a part, which the next one removes and begins anew.
 */
import { createHash } from "node:crypto"
import { nodesResolve } from "@signalbox/contracts/fleet/operations"
import type { CallInputOf, OutputOf } from "@signalbox/contracts/operation"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import type { OperationCaller } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import {
  freezePlan,
  insertTargets,
  refreshStatistics,
  removeTargets,
  type FrozenPlan,
  type WindowNode,
} from "./batch-store.ts"
import type { ClaimedExecution, Wished } from "./claimed-execution.ts"
import { resolveStoredLimits } from "./model.ts"

export const targetsPerBatch = 5_000
/** Batches written beside one another, each on a connection of its own. */
const insertsAtOnceMax = 2

export type Targets = Pick<CallInputOf<typeof nodesResolve>, "nodes" | "query" | "group" | "all">
type Page = OutputOf<typeof nodesResolve>
export type ResolvedNode = Page["items"][number]

export interface ResolveCall {
  readonly account: string
  readonly cause: string
  readonly causedBy?: string
  readonly depth: number
}

/** Pages of the targets, ordered by node id. @throws executions.unknown-target, fleet.* */
export async function* resolveTargets(
  operations: OperationCaller,
  targets: Targets,
  call: ResolveCall,
): AsyncGenerator<readonly ResolvedNode[]> {
  const read = (cursor: string | undefined): Promise<Page> =>
    operations.call(
      nodesResolve,
      { ...targets, limit: targetsPerBatch, ...(cursor === undefined ? {} : { cursor }) },
      { ...call, service: "workflows", roles: ["viewer"] },
    )
  // The next page is on its way while this one is worked on.
  let next: Promise<Page> | undefined = read(undefined)
  while (next) {
    const page: Page = await next
    next = page.nextCursor === undefined ? undefined : read(page.nextCursor)
    next?.catch(() => undefined)
    if (page.unknown.length > 0) throw unknownTargets(page.unknown)
    yield page.items
  }
}

function unknownTargets(unknown: readonly string[]): AppError {
  const some = unknown.slice(0, 5).join(", ")
  return new AppError(
    "executions.unknown-target",
    `${unknown.length} of the targets do not exist: ${some}${unknown.length > 5 ? ", …" : ""}`,
    { details: { unknown: unknown.slice(0, 100) } },
  )
}

/** A node's tags as far as templates name them; a missing one is refused here, before anything runs. */
export function pickTags(node: ResolvedNode, tagKeys: readonly string[]): Record<string, string> | undefined {
  if (tagKeys.length === 0) return undefined
  const picked: Record<string, string> = {}
  for (const key of tagKeys) {
    const value = Object.hasOwn(node.tags, key) ? node.tags[key] : undefined
    if (value === undefined)
      throw new AppError("workflows.invalid-template", `node ${node.name} has no tag "${key}", which a template names`)
    picked[key] = value
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
  readonly tagKeys: readonly string[]
}

export async function planTargets(options: PlanningOptions): Promise<Planned> {
  const { sql, claimed } = options
  while ((await removeTargets(sql, claimed, targetsPerBatch)) > 0);
  try {
    return await freezeTargets(options)
  } catch (error) {
    // What another try can't mend ends the run; everything else goes up and is tried again.
    if (!isAppError(error) || error.entry.retryable || error.entry.kind === "internal") throw error
    while ((await removeTargets(sql, claimed, targetsPerBatch)) > 0);
    return { kind: "refused", reason: `planning failed: ${error.message}; nothing was started` }
  }
}

async function freezeTargets(options: PlanningOptions): Promise<Planned> {
  const inserts: Array<Promise<Wished | undefined>> = []
  try {
    return await freezePages(options, inserts)
  } finally {
    // None is left behind that could write after the next try has begun.
    await Promise.allSettled(inserts)
  }
}

async function freezePages(
  { sql, operations, claimed, plan, tagKeys }: PlanningOptions,
  inserts: Array<Promise<Wished | undefined>>,
): Promise<Planned> {
  const digest = createHash("sha256")
  const kept: WindowNode[] = []
  let targetsCount = 0
  let last = ""
  const call = { account: claimed.account, cause: claimed.cause, causedBy: claimed.id, depth: claimed.depth + 1 }
  for await (const page of resolveTargets(operations, plan.targets as Targets, call)) {
    const nodes = page
      .filter((node) => node.id > last)
      .map((node) => ({ ...node, tags: pickTags(node, tagKeys) ?? null }))
    last = nodes.at(-1)?.id ?? last
    if (targetsCount + nodes.length > plan.targetsMax)
      throw new AppError("executions.blast-radius", `the targets have become more than ${plan.targetsMax} nodes`)
    digest.update(nodes.map((node) => `${node.id}\n`).join(""))
    const rows = nodes.map((node) => ({ ...node, tags: node.tags === null ? null : JSON.stringify(node.tags) }))
    const insert = insertTargets(sql, claimed, { ordinal: targetsCount, nodes: rows })
    // Awaited later; a failure before then must not count as unheard.
    insert.catch(() => undefined)
    inserts.push(insert)
    for (const [index, node] of nodes.slice(0, plannedNodesKeptMax - kept.length).entries()) {
      kept.push({ ordinal: targetsCount + index, ...node })
    }
    targetsCount += nodes.length
    if (inserts.length < insertsAtOnceMax) continue
    const wished = await inserts.shift()
    if (!wished) return { kind: "lost" }
    if (wished.wish.startsWith("abort")) break
  }
  if ((await Promise.all(inserts)).includes(undefined)) return { kind: "lost" }
  if (targetsCount === 0) throw new AppError("executions.no-targets", "the targets match no node any more")
  // For the statements to come; autovacuum does it too, only later.
  refreshStatistics(sql, targetsCount).catch(() => undefined)
  const { width, errorsMax } = resolveStoredLimits(claimed, targetsCount)
  const frozen = await freezePlan(sql, claimed, { targetsCount, width, errorsMax, digest: digest.digest("hex") })
  return frozen ? { kind: "planned", targetsCount, width, errorsMax, nodes: kept } : { kind: "lost" }
}
