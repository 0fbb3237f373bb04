import type { Inventory } from "@signalbox/contracts/fleet/inventory"
import type { Sql, Tx } from "../../storage/database.ts"

/** The SQL of what sessions tell of nodes: machine, inventory. Instants are milliseconds. */

/** What decides whether a session may be opened. */
export interface Admission {
  readonly name: string
  readonly machineId: string | null
  readonly agentVersion: string | null
  readonly heldAt: number | null
}

const admissionColumns = `name, machine_id as "machineId", agent_version as "agentVersion", held_at as "heldAt"`

export async function findAdmission(sql: Sql, account: string, nodeId: string): Promise<Admission | undefined> {
  const [row] = await sql.query<Admission>(
    `select ${admissionColumns} from nodes where id = $1 and account = $2 and kind = 'node'`,
    [nodeId, account],
    { name: "fleet-find-admission" },
  )
  return row
}

export async function lockAdmission(tx: Tx, account: string, nodeId: string): Promise<Admission | undefined> {
  const [row] = await tx.query<Admission>(
    `select ${admissionColumns} from nodes where id = $1 and account = $2 for update`,
    [nodeId, account],
  )
  return row
}

export async function setMachine(
  tx: Tx,
  node: { account: string; id: string; machineId: string; agentVersion: string },
): Promise<void> {
  await tx.query("update nodes set machine_id = $3, agent_version = $4 where id = $1 and account = $2", [
    node.id,
    node.account,
    node.machineId,
    node.agentVersion,
  ])
}

/** Gives the node's new version. */
export async function holdNode(tx: Tx, node: { account: string; id: string; now: number }): Promise<number> {
  const [row] = await tx.query<{ version: number }>(
    `update nodes set held_at = to_timestamp($3 / 1000.0), version = version + 1
     where id = $1 and account = $2 returning version`,
    [node.id, node.account, node.now],
  )
  return row?.version ?? 0
}

/** What authenticates an agent. */
export async function findAgentKey(
  sql: Sql,
  account: string,
  nodeId: string,
): Promise<{ publicKey: string; heldAt: number | null } | undefined> {
  const [row] = await sql.query<{ publicKey: string; heldAt: number | null }>(
    `select public_key as "publicKey", held_at as "heldAt" from nodes where id = $1 and account = $2 and kind = 'node'`,
    [nodeId, account],
    { name: "fleet-find-agent-key" },
  )
  return row
}

export interface StoredInventory {
  readonly account: string
  readonly nodeId: string
  readonly digest: string
  /** JSON that PostgreSQL accepts. */
  readonly text: string
  readonly collectedAt: number
}

/** True where the same inventory is on record already; its time is brought up to date. */
export async function confirmInventory(tx: Tx, inventory: StoredInventory): Promise<boolean> {
  const rows = await tx.query(
    `update node_inventories set collected_at = to_timestamp($4 / 1000.0)
     where node_id = $1 and account = $2 and digest = $3 returning node_id`,
    [inventory.nodeId, inventory.account, inventory.digest, inventory.collectedAt],
  )
  return rows.length > 0
}

export interface InventorySummary {
  readonly os: string
  readonly architecture: string
  readonly packagesInstalled: number
  readonly packagesPending: number
}

/** Stores an inventory and its summary; undefined where the node is gone. */
export async function writeInventory(
  tx: Tx,
  inventory: StoredInventory,
  summary: InventorySummary,
): Promise<{ name: string; version: number } | undefined> {
  const [node] = await tx.query<{ name: string; version: number }>(
    `update nodes set os = $3, architecture = $4, packages_installed = $5, packages_pending = $6, version = version + 1
     where id = $1 and account = $2 returning name, version`,
    [
      inventory.nodeId,
      inventory.account,
      summary.os,
      summary.architecture,
      summary.packagesInstalled,
      summary.packagesPending,
    ],
  )
  if (!node) return undefined
  await tx.query(
    `insert into node_inventories (node_id, account, digest, inventory, collected_at, first_collected_at)
     values ($1, $2, $3, $4, to_timestamp($5 / 1000.0), to_timestamp($5 / 1000.0))
     on conflict (node_id) do update
       set digest = excluded.digest, inventory = excluded.inventory, collected_at = excluded.collected_at`,
    [inventory.nodeId, inventory.account, inventory.digest, inventory.text, inventory.collectedAt],
  )
  return node
}

export async function findInventory(
  sql: Sql,
  account: string,
  nodeId: string,
): Promise<{ inventory: Inventory; collectedAt: number; firstCollectedAt: number } | undefined> {
  const [row] = await sql.query<{ inventory: Inventory; collectedAt: number; firstCollectedAt: number }>(
    `select inventory, collected_at as "collectedAt", first_collected_at as "firstCollectedAt" from node_inventories where node_id = $1 and account = $2`,
    [nodeId, account],
  )
  return row
}
