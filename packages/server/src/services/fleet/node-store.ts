import type { nodeStates } from "@signalbox/contracts/fleet/operations"
import type { TagQuery } from "@signalbox/contracts/fleet/tag-query"
import { AppError } from "@signalbox/kernel/app-error"
import type { Sql, Tx } from "../../storage/database.ts"
import { isNodeId } from "./model.ts"
import { compileTagQuery, type Bind } from "./tag-query-sql.ts"

/** The SQL of nodes and their claims on names and keys. Instants are milliseconds. */
export interface NodeRow {
  readonly id: string
  readonly account: string
  readonly name: string
  /** `node`, or what kind of resource without an agent this is. */
  readonly kind: string
  /** Of a resource: the node that runs its tasks; null: the server. */
  readonly runner: string | null
  readonly publicKey: string | null
  readonly machineId: string | null
  readonly enrolledWith: string | null
  readonly tags: Readonly<Record<string, string>>
  readonly agentVersion: string | null
  readonly os: string | null
  readonly architecture: string | null
  readonly packagesInstalled: number | null
  readonly packagesPending: number | null
  readonly online: boolean
  readonly heldAt: number | null
  readonly version: number
  readonly enrolledAt: number
  readonly lastSeenAt: number | null
}

const columns = `id, account, name, kind, runner, public_key as "publicKey", machine_id as "machineId", enrolled_with as "enrolledWith",
  tags, agent_version as "agentVersion", os, architecture, packages_installed as "packagesInstalled",
  packages_pending as "packagesPending", online, held_at as "heldAt", version, enrolled_at as "enrolledAt",
  last_seen_at as "lastSeenAt"`

/** Which nodes of an account are meant. All given parts must hold. */
export interface NodeFilter {
  readonly account: string
  readonly queries?: readonly TagQuery[]
  /** Lists of ids and names. */
  readonly references?: ReadonlyArray<readonly string[]>
  readonly state?: (typeof nodeStates)[number]
}

/** A node by its id or name. */
export async function findNode(sql: Sql, account: string, reference: string): Promise<NodeRow | undefined> {
  const [row] = await sql.query<NodeRow>(
    `select ${columns} from nodes where account = $1 and ${isNodeId(reference) ? "id" : "name"} = $2`,
    [account, reference],
  )
  return row
}

/** A node by its id or name, locked until the transaction ends. */
export async function lockNode(tx: Tx, account: string, reference: string): Promise<NodeRow | undefined> {
  const [row] = await tx.query<NodeRow>(
    `select ${columns} from nodes where account = $1 and ${isNodeId(reference) ? "id" : "name"} = $2 for update`,
    [account, reference],
  )
  return row
}

/** A page of nodes in the order of their names; ids settle the order of names that were equal at some time. */
export async function listNodes(
  sql: Sql,
  filter: NodeFilter,
  page: { readonly after?: readonly [name: string, id: string]; readonly limit: number },
): Promise<NodeRow[]> {
  const { conditions, values, bind } = compileFilter(filter)
  if (page.after) conditions.push(`(name, id) > (${bind(page.after[0])}, ${bind(page.after[1])})`)
  return sql.query<NodeRow>(
    `select ${columns} from nodes where ${conditions.join(" and ")} order by name, id limit ${bind(page.limit)}`,
    values,
  )
}

/** A page of nodes in the order of their ids. */
export async function resolveNodes(
  sql: Sql,
  filter: NodeFilter,
  page: { readonly afterId: string; readonly limit: number },
): Promise<Array<Pick<NodeRow, "id" | "name" | "tags" | "kind" | "runner">>> {
  const { conditions, values, bind } = compileFilter(filter)
  conditions.push(`id > ${bind(page.afterId)}`)
  return sql.query(
    `select id, name, tags, kind, runner from nodes where ${conditions.join(" and ")} order by id limit ${bind(page.limit)}`,
    values,
  )
}

/** How many nodes a filter takes in. */
export async function countNodes(sql: Sql, filter: NodeFilter): Promise<number> {
  const { conditions, values } = compileFilter(filter)
  const [row] = await sql.query<{ count: number }>(
    `select count(*)::int as count from nodes where ${conditions.join(" and ")}`,
    values,
  )
  return row?.count ?? 0
}

/** Those of the ids and names that no node of the account has, in the order given. */
export async function findUnknown(sql: Sql, account: string, references: readonly string[]): Promise<string[]> {
  const { ids, names } = splitReferences(references)
  const rows = await sql.query<{ id: string; name: string }>(
    "select id, name from nodes where account = $1 and (id = any($2::text[]) or name = any($3::text[]))",
    [account, ids, names],
  )
  const known = new Set(rows.flatMap((row) => [row.id, row.name]))
  return [...new Set(references)].filter((reference) => !known.has(reference))
}

/** Those of the ids that no node has, in any account. */
export async function findRemoved(sql: Sql, ids: readonly string[]): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(
    "select i.id from unnest($1::text[]) as i (id) where not exists (select 1 from nodes n where n.id = i.id)",
    [ids],
  )
  return rows.map((row) => row.id)
}

/** Those of the nodes that there are, of any account. */
export function describeNodes(
  sql: Sql,
  ids: readonly string[],
): Promise<Array<{ account: string; nodeId: string; name: string; tags: Record<string, string> }>> {
  return sql.query(`select account, id as "nodeId", name, tags from nodes where id = any ($1::text[])`, [ids])
}

function compileFilter(filter: NodeFilter): { conditions: string[]; values: unknown[]; bind: Bind } {
  const values: unknown[] = []
  const bind: Bind = (value) => `$${values.push(value)}`
  const conditions = [`account = ${bind(filter.account)}`]
  for (const query of filter.queries ?? []) conditions.push(compileTagQuery(query, bind))
  for (const references of filter.references ?? []) {
    const { ids, names } = splitReferences(references)
    conditions.push(`(id = any(${bind(ids)}::text[]) or name = any(${bind(names)}::text[]))`)
  }
  if (filter.state === "held") conditions.push("held_at is not null")
  else if (filter.state === "registered") conditions.push("kind <> 'node'")
  else if (filter.state)
    conditions.push(`held_at is null and kind = 'node' and online = ${bind(filter.state === "online")}`)
  return { conditions, values, bind }
}

function splitReferences(references: readonly string[]): { ids: string[]; names: string[] } {
  // A zero byte is no text to PostgreSQL, and no name has one.
  const possible = references.filter((reference) => !reference.includes("\0"))
  return {
    ids: possible.filter((reference) => isNodeId(reference)),
    names: possible.filter((reference) => !isNodeId(reference)),
  }
}

/** A claim that vanishes between being met and being read (its node was removed) is tried again so often. */
const claimAttemptsMax = 5

/**
 * Claims a name or a public key for a node. Gives the id of the node that has it: this one, or the one that was first.
 * Of two transactions the second waits for the first, so exactly one gets it.
 */
export async function claimForNode(
  tx: Tx,
  claim: { account: string; kind: "name" | "public-key"; value: string; nodeId: string },
): Promise<string> {
  const { account, kind, value, nodeId } = claim
  for (let attempt = 0; attempt < claimAttemptsMax; attempt++) {
    const [won] = await tx.query(
      `insert into node_claims (account, kind, value, node_id) values ($1, $2, $3, $4)
       on conflict do nothing returning node_id`,
      [account, kind, value, nodeId],
    )
    const owner = won ? nodeId : await findClaim(tx, claim)
    if (owner) return owner
  }
  throw new AppError("fleet.node-name-taken", `the ${kind} is being taken and given up again and again; try later`)
}

export async function findClaim(
  sql: Sql,
  claim: { account: string; kind: "name" | "public-key"; value: string },
): Promise<string | undefined> {
  const [row] = await sql.query<{ nodeId: string }>(
    `select node_id as "nodeId" from node_claims where account = $1 and kind = $2 and value = $3`,
    [claim.account, claim.kind, claim.value],
  )
  return row?.nodeId
}

export async function insertNode(
  tx: Tx,
  node: Pick<NodeRow, "id" | "account" | "name" | "tags" | "enrolledAt"> & {
    readonly publicKey: string
    readonly enrolledWith: string
  },
): Promise<void> {
  await tx.query(
    `insert into nodes (id, account, name, public_key, enrolled_with, tags, enrolled_at)
     values ($1, $2, $3, $4, $5, $6, to_timestamp($7 / 1000.0))`,
    [node.id, node.account, node.name, node.publicKey, node.enrolledWith, JSON.stringify(node.tags), node.enrolledAt],
  )
}

export async function insertResource(
  tx: Tx,
  resource: Pick<NodeRow, "id" | "account" | "name" | "kind" | "runner" | "tags" | "enrolledAt">,
): Promise<void> {
  const { id, account, name, kind, runner, tags, enrolledAt } = resource
  await tx.query(
    `insert into nodes (id, account, name, kind, runner, tags, enrolled_at)
     values ($1, $2, $3, $4, $5, $6, to_timestamp($7 / 1000.0))`,
    [id, account, name, kind, runner, JSON.stringify(tags), enrolledAt],
  )
}

export async function updateResource(
  tx: Tx,
  resource: Pick<NodeRow, "id" | "account" | "kind" | "runner" | "tags">,
): Promise<NodeRow | undefined> {
  const { id, account, kind, runner, tags } = resource
  const [row] = await tx.query<NodeRow>(
    `update nodes set kind = $3, runner = $4, tags = $5, version = version + 1
     where id = $1 and account = $2 returning ${columns}`,
    [id, account, kind, runner, JSON.stringify(tags)],
  )
  return row
}

/** Sets the tags; a release also forgets the machine, so that the next one that connects is taken. */
export async function updateNode(
  tx: Tx,
  node: Pick<NodeRow, "account" | "id" | "tags">,
  release: boolean,
): Promise<NodeRow | undefined> {
  const [row] = await tx.query<NodeRow>(
    `update nodes set tags = $3, version = version + 1,
       held_at = case when $4 then null else held_at end, machine_id = case when $4 then null else machine_id end
     where id = $1 and account = $2 returning ${columns}`,
    [node.id, node.account, JSON.stringify(node.tags), release],
  )
  return row
}

export async function deleteNode(tx: Tx, node: NodeRow): Promise<void> {
  await tx.query("delete from nodes where id = $1 and account = $2", [node.id, node.account])
  await tx.query(
    `delete from node_claims
     where account = $1 and node_id = $2 and ((kind = 'name' and value = $3) or (kind = 'public-key' and value = $4))`,
    [node.account, node.id, node.name, node.publicKey],
  )
}
