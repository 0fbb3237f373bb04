/**
 * Where an execution's targets come from: what a person named, or the tasks of an execution before it, whose nodes are
 * looked up once more, since some may be gone.
 */
import { nodesResolve } from "@signalbox/contracts/fleet/operations"
import type { CallInputOf, OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import type { OperationCaller } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import type { FollowSource } from "./follow-source.ts"
import { listFollowed, type FollowedTask } from "./new-execution-store.ts"
import type { TaskOrigin } from "./plan-store.ts"

export const targetsPerBatch = 5_000

export type Targets = Pick<CallInputOf<typeof nodesResolve>, "nodes" | "query" | "group" | "all">

/** As stored in the plan. */
export type TargetSource = Targets | { readonly follow: FollowSource }

type Page = OutputOf<typeof nodesResolve>
export type ResolvedNode = Page["items"][number]

/** A node that becomes a target. */
export interface TargetNode extends ResolvedNode {
  readonly origin?: TaskOrigin
  /** Of a rollback: as in the execution that it puts back. */
  readonly domain?: number
}

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

export interface Vanished {
  readonly count: number
  /** The first hundred, by name. */
  readonly nodes: readonly string[]
}

export interface Followed {
  readonly nodes: readonly TargetNode[]
  readonly vanished: Vanished
}

const vanishedNamesMax = 100

/** The nodes of followed tasks that still exist, in the tasks' order. */
export async function resolveFollowed(
  parts: { readonly sql: Sql; readonly operations: OperationCaller },
  source: FollowSource,
  options: { readonly call: ResolveCall; readonly targetsMax: number },
): Promise<Followed> {
  const { call, targetsMax } = options
  const tasks = await listFollowed(parts.sql, call.account, { source, limit: targetsMax + 1 })
  const nodes: TargetNode[] = []
  const gone: string[] = []
  for (let from = 0; from < tasks.length; from += targetsPerBatch) {
    const chunk = tasks.slice(from, from + targetsPerBatch)
    const found = await resolveIds(
      parts.operations,
      chunk.map(({ nodeId }) => nodeId),
      call,
    )
    for (const task of chunk) {
      const node = found.get(task.nodeId)
      if (node) nodes.push(source.kind === "rollback" ? withOrigin(node, task) : node)
      else gone.push(task.nodeName)
    }
  }
  return { nodes, vanished: { count: gone.length, nodes: gone.slice(0, vanishedNamesMax) } }
}

function withOrigin(node: ResolvedNode, { ordinal, attempt, domain }: FollowedTask): TargetNode {
  return { ...node, origin: { ordinal, attempt }, ...(domain === null ? {} : { domain }) }
}

/** Those of some nodes that still exist, with their tags as they are now. */
export async function resolveIds(
  operations: OperationCaller,
  ids: readonly string[],
  call: ResolveCall,
): Promise<ReadonlyMap<string, ResolvedNode>> {
  const found = new Map<string, ResolvedNode>()
  for (let from = 0; from < ids.length; from += targetsPerBatch) {
    await resolveChunk({ operations, found, call }, ids.slice(from, from + targetsPerBatch))
  }
  return found
}

interface Resolving {
  readonly operations: OperationCaller
  readonly found: Map<string, ResolvedNode>
  readonly call: ResolveCall
}

async function resolveChunk({ operations, found, call }: Resolving, ids: readonly string[]): Promise<void> {
  let cursor: string | undefined
  do {
    const page: Page = await operations.call(
      nodesResolve,
      { nodes: [...ids], limit: targetsPerBatch, ...(cursor === undefined ? {} : { cursor }) },
      { ...call, service: "workflows", roles: ["viewer"] },
    )
    for (const node of page.items) found.set(node.id, node)
    cursor = page.nextCursor
  } while (cursor !== undefined)
}
