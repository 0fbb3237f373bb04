import fc from "fast-check"
import { expect, test } from "vitest"
import { isProven, leafHash, MerkleTree } from "./merkle-tree.ts"

const treeOf = (size: number) => new MerkleTree(Array.from({ length: size }, (_, index) => leafHash({ index })))

test("A18: proves each of its entries at its place, whatever their number, and nothing else", () => {
  for (let size = 1; size <= 40; size++) {
    const tree = treeOf(size)
    const { root } = tree
    for (let index = 0; index < size; index++) {
      const hashes = tree.prove(index)
      expect(isProven({ index }, { index, hashes }, { root, size })).toBe(true)
      expect(isProven({ index: index + 1 }, { index, hashes }, { root, size })).toBe(false)
      expect(isProven({ index }, { index, hashes: [...hashes, "0".repeat(64)] }, { root, size })).toBe(false)
      expect(isProven({ index }, { index, hashes: hashes.slice(1) }, { root, size })).toBe(size === 1)
      expect(isProven({ index }, { index: size, hashes }, { root, size })).toBe(false)
      expect(isProven({ index }, { index: -1, hashes }, { root, size })).toBe(false)
    }
  }
})

test("A18: a proof for one place or one tree is none for another", () => {
  const cases = fc.tuple(fc.integer({ min: 2, max: 3000 }), fc.nat(), fc.nat(), fc.nat())
  fc.assert(
    fc.property(cases, ([size, a, b, c]) => {
      const tree = treeOf(size)
      const [index, other] = [a % size, b % size]
      const hashes = tree.prove(index)
      const at = { root: tree.root, size }
      expect(isProven({ index }, { index, hashes }, at)).toBe(true)
      if (other !== index) expect(isProven({ index }, { index: other, hashes }, at)).toBe(false)
      const changed = hashes.map((hash, place) => (place === c % hashes.length ? hash.replace(/^./, flip) : hash))
      expect(isProven({ index }, { index, hashes: changed }, at)).toBe(false)
    }),
    { numRuns: 60 },
  )
})

const flip = (digit: string): string => (digit === "0" ? "1" : "0")

test("A18: an inner node is no entry", () => {
  const [left, right] = [leafHash("a"), leafHash("b")]
  const { root } = new MerkleTree([left, right])
  expect(leafHash(Buffer.concat([left, right]).toString("latin1")).toString("hex")).not.toBe(root)
  expect(new MerkleTree([left]).root).toBe(left.toString("hex"))
})
