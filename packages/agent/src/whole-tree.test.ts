import { spawnSync } from "node:child_process"
import { chmodSync, lstatSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import fc from "fast-check"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { makeNode, stepOf, taskOf, type TestNode, treeOf } from "./step-kit.fixture.ts"

let node: TestNode
beforeEach(async () => {
  node = await makeNode()
})
afterEach(() => node.remove())

const name = fc.constantFrom("a", "b", "c d", "é", "-x", ".hidden", "etc", "srv")
const path = fc.array(name, { minLength: 1, maxLength: 5 })
const mode = fc.constantFrom(0o644, 0o600, 0o755, 0o4755, 0o1777, 0o400)

const change = fc.oneof(
  fc.record({ kind: fc.constant("write" as const), path, content: fc.string({ maxLength: 50 }) }),
  fc.record({ kind: fc.constant("append" as const), path, content: fc.string({ maxLength: 50 }) }),
  fc.record({ kind: fc.constant("remove" as const), path }),
  fc.record({ kind: fc.constant("mode" as const), path, mode }),
  fc.record({ kind: fc.constant("link" as const), path, target: fc.constantFrom("a", "../b", "/nowhere", "etc") }),
  fc.record({ kind: fc.constant("odd name" as const), path }),
)
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never

/** What can't be done to what is there is left undone. */
function apply(root: string, change: Change): void {
  const at = join(root, ...change.path)
  try {
    if (change.kind === "remove") return rmSync(at, { recursive: true, force: true })
    if (change.kind === "mode") return chmodSync(at, change.mode)
    const isPassable = lstatSync(root).isDirectory() && !hasLink(root, change.path.slice(0, -1))
    if (!isPassable) return
    mkdirSync(join(at, ".."), { recursive: true })
    if (change.kind === "write" || change.kind === "append") {
      if (lstatSync(at, { throwIfNoEntry: false })?.isSymbolicLink()) rmSync(at)
      return writeFileSync(at, change.content, { flag: change.kind === "append" ? "a" : "w" })
    }
    if (change.kind === "odd name") return writeFileSync(Buffer.concat([Buffer.from(at), Buffer.from([0xff])]), "x")
    rmSync(at, { recursive: true, force: true })
    symlinkSync(change.target, at)
  } catch {
    return
  }
}

function hasLink(root: string, parts: readonly string[]): boolean {
  return parts.some((_part, index) =>
    lstatSync(join(root, ...parts.slice(0, index + 1)), { throwIfNoEntry: false })?.isSymbolicLink(),
  )
}

const quiet = () => taskOf([stepOf({ command: { shell: "true" } })], { whole: true })

describe("W6: mode whole", () => {
  test("whatever is done to a root, the rollback brings back the same tree, once and again", async () => {
    // Only in a new tree: a name that is no UTF-8 can't be saved, as another test says.
    const first = fc.array(
      change.filter(({ kind }) => kind !== "odd name"),
      { maxLength: 12 },
    )
    const property = fc.asyncProperty(first, fc.array(change, { maxLength: 12 }), async (before, after) => {
      // Who is not root can't empty a directory that a change has closed.
      spawnSync("chmod", ["-R", "u+rwX", node.root])
      for (const each of readdirSync(node.root)) rmSync(join(node.root, each), { recursive: true, force: true })
      for (const each of before) apply(node.root, each)
      // What its own user can't look into can't be saved either.
      if (process.geteuid?.() !== 0) spawnSync("chmod", ["-R", "u+rwX", node.root])
      const tree = treeOf(node.root)
      const { key, outcome } = await node.run(quiet())
      expect(outcome).toMatchObject({ state: "succeeded" })
      for (const each of after) apply(node.root, each)
      expect(await node.undo(key)).toMatchObject({ state: "rolled-back" })
      expect(treeOf(node.root)).toEqual(tree)
      expect(await node.undo(key)).toMatchObject({ state: "rolled-back" })
      expect(treeOf(node.root)).toEqual(tree)
    })
    await fc.assert(property, { numRuns: 40 })
  })

  test("services are as before too, and a command without an undo is covered", async () => {
    const before = node.look()
    const { key, outcome: ran } = await node.run(
      taskOf(
        [
          stepOf({ service: { name: "web", state: "started", enabled: true } }),
          stepOf({ command: { shell: "rm -r srv; echo new > etc/web.conf; mkdir -p deep/er; touch deep/er/file" } }),
          stepOf({ file: { path: "etc/init.d/web", mode: 0o700, content: "x" } }),
        ],
        { whole: true },
      ),
    )
    expect(ran).toMatchObject({ state: "succeeded" })
    const outcome = await node.undo(key)
    expect(outcome).toMatchObject({ state: "rolled-back" })
    expect(node.look()).toEqual(before)
  })

  test("a tree that can't be brought back is said to, with what differs", async () => {
    const { key } = await node.run(
      taskOf([stepOf({ command: { shell: "echo changed > etc/web.conf" } })], { whole: true }),
    )
    const saved = join(node.context.dataDirectory, "saved")
    const content = join(saved, key.replaceAll("/", "."), "whole/content")
    writeFileSync(content, Buffer.alloc(lstatSync(content).size))
    const outcome = await node.undo(key)
    expect(outcome).toMatchObject({ state: "rollback-failed", message: expect.stringContaining("damaged") })
    expect(outcome.message).toContain("/etc/web.conf is not what it was")
    rmSync(saved, { recursive: true })
    const gone = { state: "rollback-failed", message: expect.stringContaining("no longer kept") }
    expect(await node.undo(key)).toMatchObject(gone)
  })

  test("is refused without a private root, over its limits, and with what can't be put back", async () => {
    Object.assign(node.context, { root: "/" })
    const bare = await node.run(quiet())
    expect(bare.outcome).toMatchObject({ state: "failed", class: "refused" })
    expect(bare.outcome.message).toContain("private root")
    const small = await makeNode({ wholeEntriesMax: 5 })
    expect((await small.run(quiet())).outcome).toMatchObject({ state: "failed", class: "refused" })
    expect(await small.undo((await small.run(quiet())).key)).toMatchObject({ state: "rolled-back" })
    small.remove()
  })
})
