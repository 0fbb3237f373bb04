/** The SQL of associations. Instants are milliseconds. */
import type { Selector } from "@signalbox/approvals/match-association"
import { assert } from "@signalbox/kernel/assert"
import type { Sql, Tx } from "../../storage/database.ts"
import type { AssociationDefinition } from "./definitions.ts"

export interface AssociationRow extends AssociationDefinition {
  readonly account: string
  readonly name: string
  readonly id: string
  readonly version: number
  readonly createdAt: number
  readonly changedAt: number
  readonly changedBy: string
}

/** A selector as it is matched: what is not given is not there. */
export function selectorOf(selector: AssociationDefinition["selector"]): Selector {
  return Object.fromEntries(Object.entries(selector).filter(([, value]) => value !== undefined))
}

const columns = `account, name, id, description, template, groups, selector, bind, version,
  created_at as "createdAt", changed_at as "changedAt", changed_by as "changedBy"`

export async function findAssociation(sql: Sql, account: string, name: string): Promise<AssociationRow | undefined> {
  const [row] = await sql.query<AssociationRow>(
    `select ${columns} from approval_associations where account = $1 and name = $2`,
    [account, name],
  )
  return row
}

export async function lockAssociation(tx: Tx, account: string, name: string): Promise<AssociationRow | undefined> {
  const [row] = await tx.query<AssociationRow>(
    `select ${columns} from approval_associations where account = $1 and name = $2 for update`,
    [account, name],
  )
  return row
}

export async function listAssociations(
  sql: Sql,
  account: string,
  page: { readonly after: string; readonly limit: number; readonly template?: string | undefined },
): Promise<AssociationRow[]> {
  return sql.query<AssociationRow>(
    `select ${columns} from approval_associations
     where account = $1 and name > $2 and ($4::text is null or template = $4) order by name limit $3`,
    [account, page.after, page.limit, page.template ?? null],
  )
}

export async function readAssociations(sql: Sql, account: string): Promise<AssociationRow[]> {
  return sql.query<AssociationRow>(`select ${columns} from approval_associations where account = $1 order by name`, [
    account,
  ])
}

export async function putAssociation(
  tx: Tx,
  association: AssociationDefinition & Pick<AssociationRow, "account" | "name" | "id" | "changedBy">,
  now: number,
): Promise<AssociationRow> {
  const { account, name, id, description, template, groups, selector, bind, changedBy } = association
  const [row] = await tx.query<AssociationRow>(
    `insert into approval_associations (account, name, id, description, template, groups, selector, bind, created_at,
       changed_at, changed_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8, to_timestamp($9::float8 / 1000), to_timestamp($9::float8 / 1000), $10)
     on conflict (account, name) do update set description = excluded.description, template = excluded.template,
       groups = excluded.groups, selector = excluded.selector, bind = excluded.bind,
       version = approval_associations.version + 1, changed_at = excluded.changed_at, changed_by = excluded.changed_by
     returning ${columns}`,
    [account, name, id, description, template, JSON.stringify(groups), JSON.stringify(selector), bind, now, changedBy],
  )
  assert(row, "an upsert returns its row")
  return row
}

export async function deleteAssociation(tx: Tx, account: string, name: string): Promise<void> {
  await tx.query("delete from approval_associations where account = $1 and name = $2", [account, name])
}
