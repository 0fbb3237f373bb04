import { spawn, spawnSync, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { cp, chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { afterEach, describe, expect, it, vi } from "vitest"
import { connectDirect, type Connection } from "./database.ts"
import { sqlOf } from "./statements.ts"
import { findNativeDirectory, preparePostgresBinaries } from "./postgres-binaries.ts"
import { toPostgresFailure } from "./postgres-failure.ts"
import { startPrivatePostgres, type PrivatePostgres } from "./private-postgres.ts"
import { findProcess } from "./process-identity.ts"
import { isRoot } from "./unix-account.ts"

const fixture = fileURLToPath(new URL("private-postgres.fixture.ts", import.meta.url))
const wait = { timeout: 20_000, interval: 20 }

describe("the private PostgreSQL", { timeout: 60_000 }, () => {
  const cleanups: Array<() => unknown> = []
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
  })

  async function makeDirectory(): Promise<string> {
    const directory = await mkdtemp(join(tmpdir(), "signalbox private "))
    cleanups.push(() => rm(directory, { recursive: true, force: true, maxRetries: 10 }))
    return directory
  }

  async function start(dataDirectory: string): Promise<PrivatePostgres> {
    const postgres = await startPrivatePostgres({ dataDirectory })
    cleanups.push(() => postgres.stop())
    return postgres
  }

  interface Server {
    readonly child: ChildProcess
    readonly lines: string[]
    processId(): number
  }

  function launch(dataDirectory: string, mode = "idle"): Server {
    const child = spawn(process.execPath, ["--conditions=source", fixture, dataDirectory, mode], {
      stdio: ["ignore", "pipe", "inherit"],
    })
    cleanups.push(() => child.kill("SIGKILL"))
    const lines: string[] = []
    createInterface({ input: child.stdout }).on("line", (line) => lines.push(line))
    return { child, lines, processId: () => Number(lines.find((line) => line.startsWith("ready"))?.slice(6)) }
  }

  async function kill(child: ChildProcess): Promise<void> {
    const ended = once(child, "close")
    child.kill("SIGKILL")
    await ended
  }

  async function query(connection: Connection, text: string): Promise<object[]> {
    const client = await connectDirect(connection)
    try {
      return await sqlOf(client).query(text)
    } finally {
      await client.end()
    }
  }

  it("starts durable on a socket only, and the second time in under 2 s with everything kept", async () => {
    const directory = await makeDirectory()
    const first = await start(directory)
    expect(first.majorVersion).toBe(18)
    await query(first.connection, "create table public.kept as select 1 as n")
    const settings =
      "select string_agg(setting, ' ' order by name) as s from pg_settings where name in ('fsync', 'full_page_writes', 'synchronous_commit', 'listen_addresses', 'data_checksums')"
    expect(await query(first.connection, settings)).toEqual([{ s: "on on on  on" }])
    await first.stop()
    const started = performance.now()
    const second = await start(directory)
    expect(performance.now() - started).toBeLessThan(2_000)
    expect(await query(second.connection, "select n from public.kept")).toEqual([{ n: 1 }])
  })

  it("works where the socket's path would be too long", async () => {
    const directory = join(await makeDirectory(), "long ".repeat(20), "é".repeat(20))
    await mkdir(directory, { recursive: true })
    for (let path = directory; path !== tmpdir() && isRoot(); path = join(path, "..")) await chmod(path, 0o711)
    const postgres = await start(directory)
    expect(await query(postgres.connection, "select 1 as one")).toEqual([{ one: 1 }])
    const { host } = postgres.connection as { host: string }
    await postgres.stop()
    await expect(readdir(host)).rejects.toThrow("ENOENT")
  })

  it("loses nothing that was acknowledged when its server is killed, and its orphan is stopped at the next start", async () => {
    const directory = await makeDirectory()
    const server = launch(directory, "rows")
    await vi.waitFor(() => expect(server.lines.length).toBeGreaterThan(200), wait)
    await kill(server.child)
    const acknowledged = server.lines.filter((line) => /^\d+$/.test(line)).length
    const postgres = await start(directory)
    const [row] = (await query(postgres.connection, "select count(*) as count from public.rows")) as Array<{
      count: number
    }>
    expect(row?.count).toBeGreaterThanOrEqual(acknowledged)
    expect(postgres.processId).not.toBe(server.processId())
  })

  it("does not outlive its killed server", async () => {
    const server = launch(await makeDirectory())
    await vi.waitFor(() => expect(server.processId()).toBeGreaterThan(0), wait)
    expect(await findProcess(server.processId())).toBeDefined()
    await kill(server.child)
    await vi.waitFor(async () => expect(await findProcess(server.processId())).toBeUndefined(), wait)
  })

  it("loses nothing when server and PostgreSQL are both killed; the lock they leave does not matter", async () => {
    const directory = await makeDirectory()
    const server = launch(directory, "rows")
    await vi.waitFor(() => expect(server.lines.length).toBeGreaterThan(200), wait)
    process.kill(server.processId(), "SIGKILL")
    await kill(server.child)
    expect(await readFile(join(directory, "postgres/postmaster.pid"), "utf8")).toContain(String(server.processId()))
    const acknowledged = server.lines.filter((line) => /^\d+$/.test(line)).length
    const postgres = await start(directory)
    const [row] = (await query(postgres.connection, "select count(*) as count from public.rows")) as Array<{
      count: number
    }>
    expect(row?.count).toBeGreaterThanOrEqual(acknowledged)
  })

  it("is started again when its process dies under a living server", async () => {
    const postgres = await start(await makeDirectory())
    await query(postgres.connection, "create table public.kept as select 1 as n")
    const before = postgres.processId
    process.kill(before, "SIGKILL")
    await vi.waitFor(
      async () => expect(await query(postgres.connection, "select n from public.kept")).toEqual([{ n: 1 }]),
      wait,
    )
    expect(postgres.processId).not.toBe(before)
  })

  it("is not held up by a stale lock whose process number belongs to another program now", async () => {
    const directory = await makeDirectory()
    await (await start(directory)).stop()
    const other = spawn("sleep", ["60"])
    cleanups.push(() => other.kill())
    const lock = `${other.pid}\n${join(directory, "postgres")}\n1700000000\n5432\n${directory}\n\n  1 1\nready\n`
    await writeFile(join(directory, "postgres/postmaster.pid"), lock, { mode: 0o644 })
    expect(await query((await start(directory)).connection, "select 1 as one")).toEqual([{ one: 1 }])
  })

  it("refuses a data directory that another live server uses, and leaves that one alone", async () => {
    const directory = await makeDirectory()
    const server = launch(directory)
    await vi.waitFor(() => expect(server.processId()).toBeGreaterThan(0), wait)
    await expect(startPrivatePostgres({ dataDirectory: directory })).rejects.toMatchObject({
      code: "storage.data-directory-locked",
    })
    expect(await findProcess(server.processId())).toBeDefined()
  })

  it("of two servers that make the same directory at once, one wins and the other is told", async () => {
    const directory = await makeDirectory()
    const servers = [launch(directory), launch(directory)]
    await vi.waitFor(() => expect(servers.every(({ lines }) => lines.length > 0)).toBe(true), wait)
    const said = servers.map(({ lines }) => lines[0]?.replace(/\d+/, "N")).toSorted()
    expect(said).toEqual(["error storage.data-directory-locked", "ready N"])
  })

  it("recovers from a making that was cut off half way", async () => {
    const directory = await makeDirectory()
    const server = launch(directory)
    const unfinished = async (): Promise<string[]> =>
      (await readdir(directory)).filter((name) => name.startsWith("postgres-unfinished"))
    await vi.waitFor(
      async () => {
        const [name = "-"] = await unfinished()
        expect(await readdir(join(directory, name))).toContain("global")
      },
      { ...wait, interval: 5 },
    )
    await kill(server.child)
    expect(await unfinished()).toHaveLength(1)
    expect(await query((await start(directory)).connection, "select 1 as one")).toEqual([{ one: 1 }])
    expect(await unfinished()).toEqual([])
  })

  it("refuses data of another major version, and files that are no data", async () => {
    const directory = await makeDirectory()
    await (await start(directory)).stop()
    await writeFile(join(directory, "postgres/PG_VERSION"), "17\n")
    await expect(startPrivatePostgres({ dataDirectory: directory })).rejects.toMatchObject({
      code: "storage.data-version-mismatch",
    })
    const other = await makeDirectory()
    await mkdir(join(other, "postgres"))
    await writeFile(join(other, "postgres/notes.txt"), "mine")
    await expect(startPrivatePostgres({ dataDirectory: other })).rejects.toMatchObject({
      code: "storage.data-directory-unusable",
    })
  })

  it("says that the disk is full, at the making and at a start", async () => {
    if (!isRoot()) {
      // Only root can mount a small file system: as another user the real message of a full device is classified instead.
      const { stderr } = spawnSync("sh", ["-c", "LC_ALL=C dd if=/dev/zero of=/dev/full bs=1 count=1"], {
        encoding: "utf8",
      })
      expect(toPostgresFailure("writing", [stderr])).toMatchObject({ code: "storage.disk-full" })
      return
    }
    const directory = await makeDirectory()
    const mount = (megabytes: number, how: string): void => {
      const { status, stderr } = spawnSync(
        "mount",
        ["-t", "tmpfs", "-o", `${how}size=${megabytes}m`, "tmpfs", directory],
        { encoding: "utf8" },
      )
      expect(stderr).toBe("")
      expect(status).toBe(0)
    }
    mount(20, "")
    cleanups.push(() => spawnSync("umount", ["-l", directory]))
    await expect(startPrivatePostgres({ dataDirectory: directory })).rejects.toMatchObject({
      code: "storage.disk-full",
    })
    mount(200, "remount,")
    await (await start(directory)).stop()
    await writeFile(join(directory, "filler"), Buffer.alloc(300 << 20)).catch(() => {})
    await expect(startPrivatePostgres({ dataDirectory: directory })).rejects.toMatchObject({
      code: "storage.disk-full",
    })
    await rm(join(directory, "filler"))
    expect(await query((await start(directory)).connection, "select 1 as one")).toEqual([{ one: 1 }])
  })

  it("copies its programs where the unprivileged user can reach them when it cannot reach node_modules", async () => {
    const directory = await makeDirectory()
    await chmod(directory, 0o711)
    const hidden = join(directory, "hidden")
    await mkdir(hidden, { mode: 0o700 })
    await cp(findNativeDirectory(), join(hidden, "native"), { recursive: true })
    await cp(join(findNativeDirectory(), "../package.json"), join(hidden, "package.json"))
    const account = isRoot() ? { uid: 65_534, gid: 65_534 } : undefined
    const binaries = await preparePostgresBinaries(join(directory, "runtime"), account, join(hidden, "native"))
    expect(binaries.majorVersion).toBe(18)
    // An ordinary user reaches its own files, so nothing is copied.
    expect(binaries.postgres.startsWith(isRoot() ? join(directory, "runtime") : hidden)).toBe(true)
  })
})
