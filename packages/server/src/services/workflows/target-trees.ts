/**
 * Merkle trees over the targets of executions whose nodes ask for proofs. Owns a few of them in memory, made when the
 * first node asks and the oldest forgotten first: a tree is computed again from the rows, which never change.
 */
import { setImmediate as nextTurn } from "node:timers/promises"
import { leafHash, MerkleTree } from "@signalbox/attestation/merkle-tree"
import { signatureLimits, type TargetProof } from "@signalbox/contracts/approvals/signed-votes"
import type { Sql } from "../../storage/database.ts"
import { provenTargetOf } from "./approved-plan.ts"
import { listTargets, type TargetRow } from "./evidence-store.ts"
import { orderById } from "./target-order.ts"

const treesMax = 8
const pageItems = 5_000

interface Tree {
  readonly tree: MerkleTree
  readonly indexes: ReadonlyMap<string, number>
}

export class TargetTrees {
  readonly #trees = new Map<string, Promise<Tree | undefined>>()

  /** Undefined where the run has too many targets for a tree. */
  async prove(sql: Sql, execution: string, row: TargetRow): Promise<TargetProof | undefined> {
    const found = await this.#find(sql, execution)
    const index = found?.indexes.get(row.id)
    if (!found || index === undefined) return undefined
    return { target: provenTargetOf(row), index, hashes: found.tree.prove(index) }
  }

  async #find(sql: Sql, execution: string): Promise<Tree | undefined> {
    const known = this.#trees.get(execution)
    const tree = known ?? makeTree(sql, execution)
    // Moved to the end: what was asked for last is forgotten last.
    this.#trees.delete(execution)
    this.#trees.set(execution, tree)
    for (const oldest of this.#trees.keys()) {
      if (this.#trees.size <= treesMax) break
      this.#trees.delete(oldest)
    }
    try {
      return await tree
    } catch (error) {
      this.#trees.delete(execution)
      throw error
    }
  }
}

async function makeTree(sql: Sql, execution: string): Promise<Tree | undefined> {
  const leaves: Array<{ readonly id: string; readonly hash: Buffer }> = []
  let page: TargetRow[]
  do {
    page = await listTargets(sql, execution, { from: leaves.length, limit: pageItems })
    for (const row of page) leaves.push({ id: row.id, hash: leafHash(provenTargetOf(row)) })
    if (leaves.length > signatureLimits.provenTargetsMax) return undefined
    await nextTurn()
  } while (page.length === pageItems)
  const ordered = orderById(leaves)
  return {
    tree: new MerkleTree(ordered.map(({ hash }) => hash)),
    indexes: new Map(ordered.map(({ id }, index) => [id, index])),
  }
}
