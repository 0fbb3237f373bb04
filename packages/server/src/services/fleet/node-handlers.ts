import {
  nodesGet,
  nodesInventory,
  nodesPackageChanges,
  nodesList,
  nodesRemove,
  nodesResolve,
  nodesUpdate,
} from "@signalbox/contracts/fleet/operations"
import { matchesTagQuery, parseTagQuery } from "@signalbox/contracts/fleet/tag-query"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { onChange, onRead, type Caller, type Handler } from "../../router/handler.ts"
import type { Sql, Tx } from "../../storage/database.ts"
import { getGroup } from "./group-handlers.ts"
import { changeTags, isSameTags } from "./model.ts"
import {
  countNodes,
  deleteNode,
  findNode,
  findUnknown,
  listNodes,
  lockNode,
  resolveNodes,
  updateNode,
  type NodeFilter,
  type NodeRow,
} from "./node-store.ts"
import { listPackageChanges, type PackageChangeRow } from "./package-change-store.ts"
import { findInventory } from "./session-store.ts"
import { pageOfRows, readCursor } from "./page.ts"
import { toNode } from "./wire.ts"

/** Closes the sessions of a node at once; without it they end at the next look at the database. */
export type CloseSessions = (nodeId: string, code: "fleet.agent-identity-refused" | "fleet.node-held") => void

export function nodeHandlers(closeSessions: CloseSessions): Handler[] {
  return [
    onRead(nodesList, async (input, { sql, account, caller }) => {
      const filter = narrow(caller, await readFilter(sql, account, input))
      const after = input.cursor === undefined ? undefined : readCursor(input.cursor, 2)
      const rows = await listNodes(
        sql,
        { ...filter, ...(input.state ? { state: input.state } : {}) },
        { ...(after ? { after: [after[0] ?? "", after[1] ?? ""] as const } : {}), limit: input.limit + 1 },
      )
      return pageOfRows(rows, input.limit, { item: toNode, key: (row) => [row.name, row.id] })
    }),
    onRead(nodesGet, async (input, { sql, caller }) => toNode(await getSeen(sql, caller, input.node))),
    onRead(nodesInventory, async (input, { sql, account, caller }) => {
      const node = await getSeen(sql, caller, input.node)
      const found = await findInventory(sql, account, node.id)
      if (!found) return {}
      const { inventory, collectedAt, firstCollectedAt } = found
      return { collectedAt: toInstant(collectedAt), firstCollectedAt: toInstant(firstCollectedAt), inventory }
    }),
    onRead(nodesPackageChanges, async (input, { sql, account, caller }) => {
      const node = await getSeen(sql, caller, input.node)
      const [seenAt = "", name = "", architecture = ""] = input.cursor === undefined ? [] : readCursor(input.cursor, 3)
      const before = input.cursor === undefined ? undefined : { seenAt: toTime(seenAt), package: name, architecture }
      const filter = { account, nodeId: node.id, package: input.package, before }
      const rows = await listPackageChanges(sql, { ...filter, limit: input.limit + 1 })
      return pageOfRows(rows, input.limit, {
        item: toPackageChange,
        key: (row) => [String(row.seenAt), row.package, row.architecture],
      })
    }),
    onRead(nodesResolve, async (input, { sql, caller }) => resolve(sql, caller, input)),
    onChange(nodesUpdate, async (input, ctx) => {
      const node = await getLocked(ctx.tx, ctx.caller, input.node)
      const tags = changeTags(node.tags, input.tags ?? {})
      if (!isSeen(ctx.caller, tags))
        throw new AppError("fleet.outside-scope", `${node.name} would leave the nodes ${ctx.caller.nodes}`)
      const release = input.release === true && node.heldAt !== null
      if (!release && isSameTags(tags, node.tags)) return toNode(node)
      const changed = await updateNode(ctx.tx, { ...node, tags }, release)
      if (!changed) throw notFound(input.node)
      ctx.emit({
        aggregate: node.id,
        type: "node.updated",
        subject: node.id,
        version: changed.version,
        data: { name: node.name, tags, released: release },
      })
      return toNode(changed)
    }),
    onChange(nodesRemove, async (input, ctx) => {
      const node = await getLocked(ctx.tx, ctx.caller, input.node)
      await deleteNode(ctx.tx, node)
      ctx.emit({
        aggregate: node.id,
        type: "node.removed",
        subject: node.id,
        version: node.version + 1,
        data: { name: node.name },
      })
      ctx.afterCommit(() => closeSessions(node.id, "fleet.agent-identity-refused"))
      return { id: node.id, name: node.name }
    }),
  ]
}

/** @throws request.invalid-cursor */
function toTime(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new AppError("request.invalid-cursor", "the cursor is not one of this list")
  return Number(text)
}

function toPackageChange(row: PackageChangeRow) {
  return {
    package: row.package,
    architecture: row.architecture,
    ...(row.fromVersion === null ? {} : { fromVersion: row.fromVersion }),
    ...(row.toVersion === null ? {} : { toVersion: row.toVersion }),
    seenAt: toInstant(row.seenAt),
    seenAfter: toInstant(row.seenAfter),
    ...(row.changedAt === null ? {} : { changedAt: toInstant(row.changedAt) }),
  }
}

interface Targets {
  readonly query?: string | undefined
  readonly group?: string | undefined
  readonly nodes?: readonly string[] | undefined
  readonly all?: true | undefined
}

/** @throws fleet.invalid-tag-query, fleet.group-not-found */
async function readFilter(sql: Sql, account: string, targets: Targets): Promise<NodeFilter> {
  const own: NodeFilter = {
    account,
    ...(targets.query === undefined ? {} : { queries: [parseTagQuery(targets.query)] }),
    ...(targets.nodes === undefined ? {} : { references: [targets.nodes] }),
  }
  if (targets.group === undefined) return own
  const group = await getGroup(sql, account, targets.group)
  return {
    account,
    queries: [...(own.queries ?? []), ...(group.query === null ? [] : [parseTagQuery(group.query)])],
    references: [...(own.references ?? []), ...(group.nodes === null ? [] : [group.nodes])],
  }
}

async function resolve(
  sql: Sql,
  caller: Caller,
  input: Targets & { cursor?: string | undefined; limit: number; count?: boolean | undefined },
) {
  const ways = [input.nodes, input.query, input.group, input.all].filter((way) => way !== undefined)
  if (ways.length !== 1)
    throw new AppError("request.invalid-input", "give exactly one of `nodes`, `query`, `group` and `all`")
  const { account } = caller
  const filter = narrow(caller, await readFilter(sql, account, input))
  const [afterId = ""] = input.cursor === undefined ? [] : readCursor(input.cursor, 1)
  const rows = await resolveNodes(sql, filter, { afterId, limit: input.limit + 1 })
  const firstPage = input.cursor === undefined
  const unknown = firstPage && input.nodes ? await findUnknown(sql, account, input.nodes) : []
  return {
    ...pageOfRows(rows, input.limit, {
      item: ({ id, name, tags, kind, runner }) => ({
        ...{ id, name, tags: { ...tags } },
        ...(kind === "node" ? {} : { runner: runner ?? "server" }),
      }),
      key: (row) => [row.id],
    }),
    unknown,
    ...(input.count ? { count: await countNodes(sql, filter) } : {}),
  }
}

/** @throws fleet.node-not-found */
export async function getNode(sql: Sql, account: string, reference: string): Promise<NodeRow> {
  const node = reference.includes("\0") ? undefined : await findNode(sql, account, reference)
  if (!node) throw notFound(reference)
  return node
}

/** Of a caller that is narrowed only its own nodes are there. @throws fleet.node-not-found */
async function getSeen(sql: Sql, caller: Caller, reference: string): Promise<NodeRow> {
  const node = await getNode(sql, caller.account, reference)
  if (!isSeen(caller, node.tags)) throw notFound(reference)
  return node
}

async function getLocked(tx: Tx, caller: Caller, reference: string): Promise<NodeRow> {
  const node = reference.includes("\0") ? undefined : await lockNode(tx, caller.account, reference)
  if (!node || !isSeen(caller, node.tags)) throw notFound(reference)
  return node
}

function isSeen({ nodes }: Caller, tags: NodeRow["tags"]): boolean {
  return nodes === undefined || matchesTagQuery(parseTagQuery(nodes), tags)
}

function narrow({ nodes }: Caller, filter: NodeFilter): NodeFilter {
  return nodes === undefined ? filter : { ...filter, queries: [...(filter.queries ?? []), parseTagQuery(nodes)] }
}

const notFound = (reference: string) =>
  new AppError("fleet.node-not-found", `there is no node ${JSON.stringify(reference)} in this account`)
