import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type RunningServer, startServer } from "@signalbox/server/serve"
import { readSettings } from "@signalbox/server/settings"
import type { Connection } from "@signalbox/server/storage/database"
import { createEmptyDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { cli as runCommand } from "../test-io.fixture.ts"

/** The audit chain by the command line, against a real server whose database somebody tampers with. */
let directory: string
let server: RunningServer
let drop: () => Promise<void>
let environment: Record<string, string>

const cli = (words: readonly string[]) => runCommand(words, { environment })
const query = (text: string, values: readonly unknown[] = []) => server.database.query(text, values)

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox audit "))
  const database = await createEmptyDatabase()
  drop = () => database.drop()
  const flags = { data: directory, port: 0, "log-level": "silent", "database-url": urlOf(database.connection) }
  server = await startServer(readSettings({ flags, variables: {} }))
  environment = { XDG_CONFIG_HOME: join(directory, "config"), SIGNALBOX_DATA: directory }
  expect(await cli(["login", "--local"])).toMatchObject({ code: 0, stderr: "" })
  for (let n = 0; n < 20; n++) expect((await cli(["groups", "put", `group-${n}`, "--query", "role=web"])).code).toBe(0)
  await untilSealed(20)
})
afterAll(async () => {
  await server.stop()
  await drop()
  await rm(directory, { recursive: true, force: true })
})

function urlOf(connection: Connection): string {
  if (typeof connection === "string") return connection
  const { host, port, user, password, database } = connection
  const query = new URLSearchParams({ host: host ?? "", port: String(port ?? 5432) }).toString()
  return `postgres://${user}${password ? `:${String(password)}` : ""}@/${database}?${query}`
}

async function untilSealed(number: number): Promise<void> {
  const sealed = async () => {
    const [chain] = await query("select number from audit_chains where account = 'main'")
    expect(Number(chain?.["number"])).toBeGreaterThanOrEqual(number)
  }
  await vi.waitFor(sealed, { timeout: 30_000 })
}

describe("X3: signalbox audit", () => {
  test("a chain fits online, and its export fits without a server", async () => {
    const online = await cli(["audit", "verify"])
    expect(online).toMatchObject({ code: 0, stderr: "" })
    expect(online.stdout).toMatch(
      /the audit chain of main fits: \d+ records \(1 to \d+\), \d+ checkpoints? signed by [0-9a-f]{16}/,
    )
    const file = join(directory, "audit.jsonl")
    expect((await cli(["audit", "export", "--output", file])).stdout).toMatch(/\d+ records are in/)
    const offline = await cli(["audit", "verify", "--file", file, "--json"])
    const verdict = JSON.parse(offline.stdout) as { signedBy: string[]; last: number }
    expect(verdict).toMatchObject({ valid: true, account: "main", first: 1 })
    const { items } = JSON.parse((await cli(["signing-keys", "list", "--json"])).stdout) as {
      items: Array<{ keyId: string; publicKey: string; current: boolean }>
    }
    expect(items).toMatchObject([{ keyId: verdict.signedBy[0], current: true }])
    const key = join(directory, "key.pem")
    await writeFile(key, items[0]?.publicKey ?? "")
    expect((await cli(["audit", "verify", "--file", file, "--public-key", key])).code).toBe(0)
  })

  test("an export that was changed, cut or mixed up names the first record that does not fit", async () => {
    const { stdout } = await cli(["audit", "export"])
    const lines = stdout.trimEnd().split("\n")
    const at = lines.findIndex((line) => line.includes('"number":5,'))
    const line = lines[at] ?? ""
    const verify = async (changed: readonly string[]) => {
      const file = join(directory, "changed.jsonl")
      await writeFile(file, `${changed.join("\n")}\n`)
      const result = await cli(["audit", "verify", "--file", file, "--json"])
      return { code: result.code, ...(JSON.parse(result.stdout) as { fault?: { number?: number; what: string } }) }
    }
    const faultAt = (number: number) => ({ code: 1, fault: expect.objectContaining({ number }) as object })
    expect(await verify(lines)).toMatchObject({ code: 0 })
    expect(await verify(lines.with(at, line.replace('"outcome":"done"', '"outcome":"d0ne"')))).toMatchObject(faultAt(5))
    expect(await verify(lines.with(at, line.replace('"principal":', '"more":"x","principal":')))).toMatchObject(
      faultAt(5),
    )
    expect(await verify(lines.toSpliced(at, 1))).toMatchObject(faultAt(5))
    expect(await verify(lines.toSpliced(at, 2, lines[at + 1] ?? "", line))).toMatchObject(faultAt(5))
    expect(await verify(lines.slice(0, at))).toMatchObject({ code: 1, fault: { what: "it is cut off after record 4" } })
    const end = JSON.parse(lines.at(-1) ?? "") as object
    const fourth = JSON.parse(lines[at - 1] ?? "") as { number: number; hash: string }
    const forgedEnd = JSON.stringify({ ...end, number: 4, hash: fourth.hash })
    expect(await verify([...lines.slice(0, at), forgedEnd])).toMatchObject({ code: expect.any(Number) as number })
    const junk = join(directory, "junk.jsonl")
    await writeFile(junk, "no export\n")
    expect(await cli(["audit", "verify", "--file", junk])).toMatchObject({ code: 2 })
  })

  test("an export of a time holds every record of it, and fits by itself", async () => {
    const [row] = await query("select min(time) as first, max(time) as last from audit where account = 'main'")
    const later = new Date(Number(row?.["last"]) + 3_600_000).toISOString()
    const none = (await cli(["audit", "export", "--from", later])).stdout.trimEnd().split("\n")
    expect(none.filter((line) => line.includes('"kind":"record"'))).toEqual([])
    const file = join(directory, "of-a-time.jsonl")
    const from = new Date(Number(row?.["first"])).toISOString()
    expect((await cli(["audit", "export", "--from", from, "--to", later, "-o", file])).code).toBe(0)
    expect(
      (await readFile(file, "utf8")).split("\n").filter((line) => line.includes('"kind":"record"')).length,
    ).toBeGreaterThan(19)
    expect((await cli(["audit", "verify", "--file", file])).code).toBe(0)
  })

  test("records are listed by outcome and time", async () => {
    const made = await cli(["keys", "create", "reader", "--role", "viewer", "--json"])
    const { key } = JSON.parse(made.stdout) as { key: string }
    const refused = async () => (await cli(["groups", "put", "no", "--query", "a=b", "--key", key])).stderr
    // Until the new key is known it is refused in another way.
    await vi.waitFor(async () => expect(await refused()).toContain("identity.permission-denied"), { timeout: 20_000 })
    const list = async (...words: string[]) =>
      (
        JSON.parse((await cli(["audit", "list", "--json", ...words])).stdout) as {
          items: Array<{ outcome: string; time: string }>
        }
      ).items
    const outcomes = new Set((await list("--outcome", "refused")).map(({ outcome }) => outcome))
    expect(outcomes).toEqual(new Set(["identity.permission-denied"]))
    const [newest] = await list()
    expect(await list("--from", newest?.time ?? "")).toMatchObject([newest])
    const [before] = await list("--to", newest?.time ?? "", "--limit", "1")
    expect(Date.parse(before?.time ?? "")).toBeLessThan(Date.parse(newest?.time ?? ""))
  })

  /** The first of a chain is signed as soon as the chain has begun. */
  async function firstCheckpoint(): Promise<number> {
    const find = async () => {
      const [signed] = await query("select min(number) as number from audit_checkpoints where account = 'main'")
      const number = Number(signed?.["number"])
      expect(number).toBeGreaterThan(0)
      return number
    }
    return await vi.waitFor(find, { timeout: 30_000 })
  }

  test("a beginning that was taken out up to a signed checkpoint is accepted where somebody says so", async () => {
    const number = await firstCheckpoint()
    // Something has to be left: what was called since then is sealed after a while.
    await cli(["groups", "put", "later", "--query", "a=b"])
    await vi.waitFor(
      async () => {
        const [last] = await query("select max(number) as number from audit_seals where account = 'main'")
        expect(Number(last?.["number"])).toBeGreaterThan(number)
      },
      { timeout: 30_000 },
    )
    const removal = `with gone as (delete from audit_seals where account = 'main' and number <= $1 returning record_id)
      delete from audit where account = 'main' and id in (select record_id from gone) returning id`
    expect(await query(removal, [number])).toHaveLength(number)
    const refused = { code: 1, stdout: expect.stringContaining(`records 1 to ${number} are missing`) as string }
    expect(await cli(["audit", "verify"])).toMatchObject(refused)
    expect(await cli(["audit", "verify", "--pruned"])).toMatchObject({ code: 0 })
  })

  test("a checkpoint that was kept finds what cut the tail off, the head and all signatures with it", async () => {
    const kept = join(directory, "checkpoint.json")
    const { stdout } = await cli(["audit", "checkpoint"])
    await writeFile(kept, stdout)
    const { number } = JSON.parse(stdout) as { number: number }
    const verify = (...words: string[]) => cli(["audit", "verify", "--pruned", ...words])
    expect(await verify("--checkpoint", kept)).toMatchObject({ code: 0, stderr: "" })
    const begin = await firstCheckpoint()
    const cut = Math.floor((begin + number) / 2)
    const ids = "select record_id from audit_seals where account = 'main' and number > $1"
    await query(`delete from audit where id in (${ids})`, [cut])
    await query("delete from audit_seals where account = 'main' and number > $1", [cut])
    await query(
      `update audit_chains c set number = s.number, hash = s.hash, xid = a.xid, id = a.id from audit_seals s, audit a
       where c.account = 'main' and s.account = 'main' and s.number = $1 and a.id = s.record_id`,
      [cut],
    )
    await query("delete from audit_checkpoints where number > $1", [begin])
    expect(await verify()).toMatchObject({ code: 0 })
    const found = await verify("--checkpoint", kept)
    expect(found).toMatchObject({
      code: 1,
      stdout: expect.stringContaining(`records up to ${number} were sealed`) as string,
    })
  })
})
