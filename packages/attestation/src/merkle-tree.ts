/**
 * A Merkle tree as in RFC 6962, over canonical JSON: one hash stands for all entries, and a few hashes prove that one of
 * them is there. So a node can know that it is among a million approved targets without seeing the others.
 */
import { hash } from "node:crypto"
import { canonicalJson } from "@signalbox/kernel/canonical-json"

const hashBytes = 32
const innerMark = Buffer.from([1])

/** The hash of an entry. An entry and an inner node never have the same: they begin differently. */
export function leafHash(entry: unknown): Buffer {
  return hash("sha256", `\0${canonicalJson(entry)}`, "buffer")
}

function innerHash(left: Buffer, right: Buffer): Buffer {
  return hash("sha256", Buffer.concat([innerMark, left, right]), "buffer")
}

/** All levels of a tree, the leaves first; a last one without a neighbour goes up as it is. */
export class MerkleTree {
  readonly #levels: readonly Buffer[]
  readonly size: number

  /** @param leaves hashes of the entries, one after the other; at least one */
  constructor(leaves: readonly Buffer[]) {
    this.size = leaves.length
    const levels: Buffer[] = [Buffer.concat(leaves)]
    for (let level = levels[0]; level && level.length > hashBytes; level = levels.at(-1)) levels.push(above(level))
    this.#levels = levels
  }

  /** In hex. */
  get root(): string {
    return (this.#levels.at(-1) ?? Buffer.alloc(0)).toString("hex")
  }

  /** The hashes beside the way from an entry to the root, in hex. */
  prove(index: number): string[] {
    const hashes: string[] = []
    for (let level = 0, at = index; level < this.#levels.length - 1; level++, at >>= 1) {
      const beside = hashAt(this.#levels[level], at ^ 1)
      if (beside) hashes.push(beside.toString("hex"))
    }
    return hashes
  }
}

function above(level: Buffer): Buffer {
  const count = level.length / hashBytes
  const hashes: Buffer[] = []
  for (let at = 0; at < count; at += 2) {
    const left = hashAt(level, at)
    const right = hashAt(level, at + 1)
    if (left) hashes.push(right ? innerHash(left, right) : left)
  }
  return Buffer.concat(hashes)
}

function hashAt(level: Buffer | undefined, index: number): Buffer | undefined {
  const from = index * hashBytes
  return level && from < level.length ? level.subarray(from, from + hashBytes) : undefined
}

/** Whether an entry is the one at `index` of the tree of this root and size. */
export function isProven(
  entry: unknown,
  proof: { readonly index: number; readonly hashes: readonly string[] },
  tree: { readonly root: string; readonly size: number },
): boolean {
  const { index, hashes } = proof
  if (index < 0 || index >= tree.size) return false
  let reached = leafHash(entry)
  let used = 0
  for (let at = index, last = tree.size - 1; last > 0; at >>= 1, last >>= 1) {
    if (at === last && (at & 1) === 0) continue
    const beside = hashes[used++]
    if (beside === undefined) return false
    const other = Buffer.from(beside, "hex")
    reached = (at & 1) === 1 ? innerHash(other, reached) : innerHash(reached, other)
  }
  return used === hashes.length && reached.toString("hex") === tree.root
}
