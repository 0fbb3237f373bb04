import { groupsGet, groupsList, groupsPut, groupsRemove } from "@signalbox/contracts/fleet/operations"
import { limits } from "@signalbox/contracts/schemas"
import { parseTagQuery } from "@signalbox/contracts/fleet/tag-query"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import type { Clock } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"
import { onChange, onRead, type Handler } from "../../router/handler.ts"
import type { Sql } from "../../storage/database.ts"
import { countGroups, deleteGroup, findGroup, listGroups, lockGroup, putGroup, type GroupRow } from "./group-store.ts"
import { pageOfRows, readCursor } from "./page.ts"
import { findUnknown } from "./node-store.ts"
import { toGroup } from "./wire.ts"

export function groupHandlers({ clock, random }: { clock: Clock; random: Random }): Handler[] {
  return [
    onChange(groupsPut, async (input, ctx) => {
      if ((input.query === undefined) === (input.nodes === undefined))
        throw new AppError("request.invalid-input", "a group is given either by `query` or by `nodes`")
      if (input.query !== undefined) parseTagQuery(input.query)
      const nodes = input.nodes === undefined ? null : [...new Set(input.nodes)]
      const unknown = nodes === null ? [] : await findUnknown(ctx.tx, ctx.account, nodes)
      if (unknown.length > 0)
        throw new AppError("fleet.node-not-found", `the group names nodes that don't exist: ${preview(unknown)}`, {
          details: { unknown: unknown.slice(0, unknownShownMax) },
        })
      const existing = await lockGroup(ctx.tx, ctx.account, input.name)
      const wanted = { description: input.description ?? null, query: input.query ?? null, nodes }
      if (existing && isSame(existing, wanted)) return toGroup(existing)
      if (!existing && (await countGroups(ctx.tx, ctx.account)) >= limits.nodeGroupsMax)
        throw new AppError("fleet.too-many-groups", `an account has ${limits.nodeGroupsMax} groups of nodes at most`)
      const row = await putGroup(ctx.tx, {
        account: ctx.account,
        name: input.name,
        id: existing?.id ?? newId("group", clock, random),
        ...wanted,
        now: ctx.now,
      })
      assert(row, "an upsert returns its row")
      ctx.emit({
        aggregate: row.id,
        type: existing ? "group.changed" : "group.created",
        subject: row.id,
        version: row.version,
        data: { name: row.name, query: row.query, nodesCount: row.nodes?.length ?? null },
      })
      return toGroup(row)
    }),
    onRead(groupsGet, async (input, { sql, account }) => toGroup(await getGroup(sql, account, input.name))),
    onRead(groupsList, async (input, { sql, account }) => {
      const [afterName = ""] = input.cursor === undefined ? [] : readCursor(input.cursor, 1)
      const rows = await listGroups(sql, account, { afterName, limit: input.limit + 1 })
      return pageOfRows(rows, input.limit, { item: toGroup, key: (row) => [row.name] })
    }),
    onChange(groupsRemove, async (input, ctx) => {
      const group = await lockGroup(ctx.tx, ctx.account, input.name)
      if (!group) throw notFound(input.name)
      await deleteGroup(ctx.tx, ctx.account, input.name)
      ctx.emit({
        aggregate: group.id,
        type: "group.removed",
        subject: group.id,
        version: group.version + 1,
        data: { name: group.name },
      })
      return { name: group.name }
    }),
  ]
}

/** @throws fleet.group-not-found */
export async function getGroup(sql: Sql, account: string, name: string): Promise<GroupRow> {
  const group = await findGroup(sql, account, name)
  if (!group) throw notFound(name)
  return group
}

const unknownShownMax = 20

const notFound = (name: string) => new AppError("fleet.group-not-found", `there is no group "${name}" in this account`)

function preview(names: readonly string[]): string {
  const rest = names.length - unknownShownMax
  return names.slice(0, unknownShownMax).join(", ") + (rest > 0 ? ` and ${rest} more` : "")
}

function isSame(a: GroupRow, b: Pick<GroupRow, "description" | "query" | "nodes">): boolean {
  return a.description === b.description && a.query === b.query && JSON.stringify(a.nodes) === JSON.stringify(b.nodes)
}
