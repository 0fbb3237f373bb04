/** What a caller that is narrowed to some nodes may see and touch of runs: those all of whose targets are such nodes now. */
import { matchesTagQuery, parseTagQuery } from "@signalbox/contracts/fleet/tag-query"
import { AppError } from "@signalbox/kernel/app-error"
import type { Caller, ReadContext } from "../../router/handler.ts"
import type { OperationCaller } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import { resolveIds, type ResolvedNode } from "./target-source.ts"

export const reachLimits = {
  /** A run with more targets is none for such a caller: each of its targets is looked at. */
  targetsMax: 20_000,
  namesShownMax: 5,
  namesKeptMax: 100,
} as const

/** Nodes that are outside of the tag query, by name. */
export function findOutside(scope: string, nodes: readonly Pick<ResolvedNode, "name" | "tags">[]): string[] {
  const query = parseTagQuery(scope)
  return nodes.filter(({ tags }) => !matchesTagQuery(query, tags)).map(({ name }) => name)
}

/** Collects what is outside, and refuses it by name. */
export function outsideScope(scope: string, names: readonly string[], isAll: boolean): AppError {
  const { namesShownMax, namesKeptMax } = reachLimits
  const shown = names.slice(0, namesShownMax).join(", ")
  const more = !isAll || names.length > namesShownMax ? ", …" : ""
  return new AppError("executions.outside-scope", `targets are outside of the nodes ${scope}: ${shown}${more}`, {
    details: { nodes: names.slice(0, namesKeptMax), scope },
  })
}

interface ReachParts {
  readonly operations: OperationCaller
}

type ReachContext = Pick<ReadContext, "account" | "caller" | "cause" | "requestId" | "depth" | "sql">

/** @throws executions.not-found where the caller is narrowed and the run has targets outside */
export async function requireReach(parts: ReachParts, ctx: ReachContext, execution: string): Promise<void> {
  if (await isWithinReach(parts, ctx, execution)) return
  throw new AppError("executions.not-found", `there is no execution "${execution}" in this account`)
}

export async function isWithinReach(
  { operations }: ReachParts,
  { account, caller, cause, requestId, depth, sql }: ReachContext,
  execution: string,
): Promise<boolean> {
  const { nodes: scope } = caller
  if (scope === undefined) return true
  const targets = await readTargets(sql, { account, execution })
  if (targets.length > reachLimits.targetsMax) return false
  // Before its targets are frozen nobody else's run is known to be within.
  if (targets.length === 0) return isOwn(sql, caller, execution)
  const call = { account, cause, causedBy: requestId, depth: depth + 1 }
  const found = await resolveIds(operations, targets, call)
  // Of a node that is gone nobody knows any more how it was tagged.
  return targets.every((id) => found.has(id)) && findOutside(scope, [...found.values()]).length === 0
}

async function readTargets(sql: Sql, of: { readonly account: string; readonly execution: string }): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(
    `select distinct node_id as id from execution_targets where execution_id = $1 and account = $2 limit $3`,
    [of.execution, of.account, reachLimits.targetsMax + 1],
  )
  return rows.map(({ id }) => id)
}

async function isOwn(sql: Sql, { account, principal }: Caller, execution: string): Promise<boolean> {
  const rows = await sql.query("select from executions where id = $1 and account = $2 and created_by = $3", [
    execution,
    account,
    principal,
  ])
  return rows.length > 0
}
