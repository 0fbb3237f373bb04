import { createHash } from "node:crypto"
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import fc from "fast-check"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { agentRunLimits, type AgentRunLimits } from "./agent-limits.ts"
import { restoreFiles, saveFiles } from "./saved-files.ts"

const isRoot = process.geteuid?.() === 0
let base: string
let root: string

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "signalbox saved "))
  root = join(base, "root")
  mkdirSync(root)
  mkdirSync(join(base, "data"))
})

afterEach(() => {
  for (const directory of listDirectories(base)) chmodSync(directory, 0o700)
  rmSync(base, { recursive: true, force: true })
})

function listDirectories(path: string): string[] {
  const found = [path]
  chmodSync(path, 0o700)
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) found.push(...listDirectories(join(path, entry.name)))
  }
  return found
}

const into = () => join(base, "saved")
const at = (path: string) => join(root, path)

async function save(paths: string[], limits: Partial<AgentRunLimits> = {}): Promise<number> {
  const { signal } = new AbortController()
  const rest = { root, dataDirectory: join(base, "data"), into: into(), stop: signal }
  return await saveFiles({ ...rest, paths, limits: { ...agentRunLimits, ...limits } })
}

/** Everything that is to be the same afterwards: type, mode, owner, time, target and content of each name. */
function describeTree(path: string): unknown {
  if (!existsSync(path) && !isLink(path)) return "absent"
  const stat = lstatSync(path)
  const meta = { mode: stat.mode, uid: stat.uid, gid: stat.gid, time: Math.round(stat.mtimeMs) }
  if (stat.isSymbolicLink()) return { ...meta, target: readlinkSync(path) }
  if (stat.isFile()) return { ...meta, digest: digestOf(path, stat.mode) }
  if (!stat.isDirectory()) return { ...meta, special: true }
  const children = withMode(path, stat.mode, () => readdirSync(path).toSorted())
  return {
    ...meta,
    children: withMode(path, stat.mode, () => children.map((name) => [name, describeTree(join(path, name))])),
  }
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false
}

function digestOf(path: string, mode: number): string {
  return withMode(path, mode, () => createHash("sha256").update(readFileSync(path)).digest("hex"))
}

/** Looks at what its mode hides from an ordinary user. */
function withMode<T>(path: string, mode: number, look: () => T): T {
  if (isRoot) return look()
  chmodSync(path, 0o700)
  try {
    return look()
  } finally {
    chmodSync(path, mode & 0o7777)
  }
}

type Tree =
  | { kind: "file"; content: Uint8Array; mode: number }
  | { kind: "link"; target: string }
  | { kind: "directory"; children: Record<string, Tree>; mode: number }
  | { kind: "absent" }

const names = fc.constantFrom("a", "b", "c d", "é", "-x", ".hidden")
const fileMode = fc.constantFrom(0o644, 0o600, 0o755, 0o444, 0o4755, 0o2750, 0o1644, 0o400)
const directoryMode = fc.constantFrom(0o755, 0o700, 0o1777, 0o2755, 0o555, 0o500)
const time = fc.integer({ min: 1_000_000_000, max: 1_900_000_000 })

const tree = fc.letrec<{ node: Tree; directory: Tree }>((tie) => ({
  node: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.record({ kind: fc.constant("file" as const), content: fc.uint8Array({ maxLength: 300 }), mode: fileMode }),
    fc.record({ kind: fc.constant("link" as const), target: fc.constantFrom("a", "../b", "/nowhere", "missing") }),
    fc.constant({ kind: "absent" as const }),
    tie("directory"),
  ),
  directory: fc.record({
    kind: fc.constant("directory" as const),
    children: fc.dictionary(names, tie("node"), { maxKeys: 4 }),
    mode: directoryMode,
  }),
}))

function write(path: string, node: Tree, seconds: number): void {
  rmSync(path, { recursive: true, force: true })
  if (node.kind === "absent") return
  if (node.kind === "link") {
    symlinkSync(node.target, path)
    return lutimesSync(path, seconds, seconds)
  }
  if (node.kind === "file") writeFileSync(path, node.content)
  else {
    mkdirSync(path)
    for (const [name, child] of Object.entries(node.children)) write(join(path, name), child, seconds + 1)
  }
  if (isRoot && node.mode % 3 === 0) chownSync(path, 1234, 4321)
  chmodSync(path, node.mode)
  utimesSync(path, seconds, seconds)
}

describe("W6: saved files", () => {
  test("save, any change, restore: type, content, mode, owner, time, target and absence are the same", async () => {
    const state = fc.record({ one: tree.node, two: tree.node, three: tree.directory, time })
    const property = fc.asyncProperty(state, state, async (before, after) => {
      const put = (trees: typeof before) => {
        for (const directory of listDirectories(root)) chmodSync(directory, 0o700)
        rmSync(root, { recursive: true, force: true })
        mkdirSync(join(root, "deep"), { recursive: true })
        write(at("one"), trees.one, trees.time)
        write(at("deep/two"), trees.two, trees.time)
        write(at("three"), trees.three, trees.time)
      }
      put(before)
      const look = () => ["one", "deep/two", "three"].map((path) => describeTree(at(path)))
      const expected = look()
      await save(["one", "/deep/two", "three/"])
      put(after)
      expect(await restoreFiles(into())).toEqual({ restored: 3, problems: [] })
      expect(look()).toEqual(expected)
      expect(await restoreFiles(into())).toEqual({ restored: 3, problems: [] })
      expect(look()).toEqual(expected)
    })
    await fc.assert(property, { numRuns: 60 })
  })

  test("directories made for a path that was absent go with it, unless somebody else uses them", async () => {
    await save(["new/deep/file", "shared/file"])
    mkdirSync(at("new/deep"), { recursive: true })
    mkdirSync(at("shared"))
    for (const path of ["new/deep/file", "shared/file", "shared/other"]) writeFileSync(at(path), "x")
    expect((await restoreFiles(into()))?.problems).toEqual([])
    expect(readdirSync(root)).toEqual(["shared"])
    expect(readdirSync(at("shared"))).toEqual(["other"])
  })

  test("a directory above that was removed comes back as it was", async () => {
    mkdirSync(at("etc/app"), { recursive: true })
    chmodSync(at("etc/app"), 0o750)
    writeFileSync(at("etc/app/conf"), "x")
    await save(["etc/app/conf"])
    rmSync(at("etc"), { recursive: true })
    expect((await restoreFiles(into()))?.problems).toEqual([])
    expect(readFileSync(at("etc/app/conf"), "utf8")).toBe("x")
    expect(lstatSync(at("etc/app")).mode & 0o7777).toBe(0o750)
  })

  test("does not write through a directory that became a link", async () => {
    mkdirSync(at("app"))
    writeFileSync(at("app/conf"), "old")
    await save(["app/conf"])
    rmSync(at("app"), { recursive: true })
    mkdirSync(join(base, "elsewhere"))
    symlinkSync(join(base, "elsewhere"), at("app"))
    const result = await restoreFiles(into())
    expect(result?.restored).toBe(0)
    expect(result?.problems[0]).toContain("was replaced")
    expect(readdirSync(join(base, "elsewhere"))).toEqual([])
  })

  test("names that are no UTF-8 are refused when saving and removed when they were added", async () => {
    mkdirSync(at("dir"))
    await save(["dir"])
    const odd = Buffer.concat([Buffer.from(`${at("dir")}/`), Buffer.from([0xff, 0xfe])])
    writeFileSync(odd, "x")
    expect((await restoreFiles(into()))?.problems).toEqual([])
    expect(readdirSync(at("dir"))).toEqual([])
    writeFileSync(odd, "x")
    await expect(save(["dir"])).rejects.toMatchObject({ code: "agent.save-refused" })
  })

  test("limits, and the agent's own directory, are refused", async () => {
    mkdirSync(at("many"))
    for (let count = 0; count < 5; count++) writeFileSync(at(`many/${count}`), "12345")
    await expect(save(["many"], { savedEntriesMax: 5 })).rejects.toMatchObject({ code: "agent.save-refused" })
    await expect(save(["many"], { savedBytesMax: 24 })).rejects.toMatchObject({ code: "agent.save-refused" })
    expect(await save(["many"], { savedEntriesMax: 6, savedBytesMax: 25 })).toBe(25)
    root = dirname(base)
    await expect(save(["/"], {})).rejects.toMatchObject({ code: "agent.save-refused" })
  })

  test("D18: files of another owner are refused without root", async () => {
    root = "/"
    chmodSync(base, 0o777)
    if (isRoot) process.seteuid?.(65_534)
    try {
      await expect(save(["/etc/passwd"])).rejects.toMatchObject({ code: "agent.save-refused" })
    } finally {
      if (isRoot) process.seteuid?.(0)
    }
  })

  test("content that was damaged on the disk is noticed, not restored", async () => {
    writeFileSync(at("file"), "right")
    await save(["file"])
    writeFileSync(join(into(), "content"), "wrong")
    writeFileSync(at("file"), "new")
    expect((await restoreFiles(into()))?.problems[0]).toContain("damaged")
    expect(readFileSync(at("file"), "utf8")).toBe("new")
  })
})
