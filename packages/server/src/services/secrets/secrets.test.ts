import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Writable } from "node:stream"
import { secretLimits } from "@signalbox/contracts/secrets/operations"
import { hasCode } from "@signalbox/kernel/app-error"
import { createEmptyDatabase, createTestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { startServerFixture, type ServerFixture } from "../../http/edge.fixture.ts"
import { backupDatabase, restoreDatabase } from "../../storage/backup.ts"
import { components } from "../../storage/components.ts"
import { openDatabase, type Database } from "../../storage/database.ts"
import { masterKeyInFile } from "../../storage/master-key-file.ts"
import { systemClock, systemRandom } from "../../system.ts"
import { fingerprintOf } from "./envelope.ts"
import { openMasterKey } from "./master-key.ts"
import { createSecretsService } from "./service.ts"

const value = "Tr0ub4dor-and-3"
const noReferences = { kinds: [], environment: {} }
const outside = {
  clock: systemClock,
  random: systemRandom,
  logger: { info: () => undefined, warn: () => undefined },
}

let server: ServerFixture
let directory: string
let log = ""

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox secrets "))
  await mkdir(join(directory, "data"), { recursive: true })
  const collect = new Writable({
    write(chunk: Buffer, _encoding, done) {
      log += chunk.toString()
      done()
    },
  })
  server = await startServerFixture({
    log: collect,
    masterKey: masterKeyInFile({ dataDirectory: join(directory, "data") }),
    secretReferences: { kinds: ["env"], environment: { TOKEN: "by-reference-1" } },
  })
})

afterAll(async () => {
  await server.stop()
  await rm(directory, { recursive: true })
})

async function keyOf(role: string): Promise<string> {
  const made = await server.call(server.platformKey, "POST", "/v1/keys", { name: role, roles: [role] })
  const key = made.body["key"] as string
  await expect
    .poll(async () => (await server.call(key, "GET", "/v1/auth/whoami")).status, { timeout: 10_000 })
    .toBe(200)
  return key
}

async function readerOf(dataDirectory: string, database: Database) {
  const masterKey = masterKeyInFile({ dataDirectory })
  return (await createSecretsService({ ...outside, database, masterKey, references: noReferences })).reader
}

async function dumpOf(database: Database): Promise<string> {
  const tables = await database.query<{ name: string }>(
    `select quote_ident(table_schema) || '.' || quote_ident(table_name) as name from information_schema.tables
     where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')`,
  )
  expect(tables.length).toBeGreaterThan(10)
  const texts: string[] = []
  for (const { name } of tables) {
    const rows = await database.query<{ text: string }>(`select t::text as text from ${name} as t`)
    texts.push(...rows.map(({ text }) => text))
  }
  return texts.join("\n")
}

describe("X5: the encrypted store", () => {
  it("keeps a value that reads back through the port alone, with versions that grow over a removal", async () => {
    const { platformKey: key } = server
    const put = await server.call(key, "PUT", "/v1/secrets/database", { value })
    expect(put.body).toMatchObject({ name: "database", version: 1, kind: "value" })
    await server.call(key, "PUT", "/v1/secrets/database", { value: `${value}-new` })
    const reader = await readerOf(join(directory, "data"), server.test.database)
    expect(await reader.read("main", ["database"])).toEqual({ database: { version: 2, value: `${value}-new` } })
    expect(await reader.readVersions("main", [{ name: "database", version: 1 }])).toEqual({
      database: { version: 1, value },
    })
    expect(await reader.versions("main", ["database", "none"])).toEqual({ database: 2 })
    expect((await server.call(key, "GET", "/v1/secrets/database")).body["usedAt"]).toBeDefined()
    expect((await server.call(key, "DELETE", "/v1/secrets/database")).status).toBe(200)
    await expect(reader.read("main", ["database"])).rejects.toSatisfy((error) => hasCode(error, "secrets.not-found"))
    expect((await server.call(key, "GET", "/v1/secrets/database")).body.code).toBe("secrets.not-found")
    expect((await server.call(key, "DELETE", "/v1/secrets/database")).body.code).toBe("secrets.not-found")
    const again = await server.call(key, "PUT", "/v1/secrets/database", { value })
    expect(again.body["version"]).toBe(4)
  })

  it("keeps the last few versions and no more", async () => {
    for (let n = 0; n < secretLimits.versionsKept + 2; n++)
      await server.call(server.platformKey, "PUT", "/v1/secrets/turning", { value: `${value}-${n}` })
    const [row] = await server.test.database.query<{ count: number; first: number }>(
      "select count(*)::int as count, min(version) as first from secret_versions where name = 'turning'",
    )
    expect(row).toEqual({ count: secretLimits.versionsKept, first: 3 })
  })

  it("shows no other account's secrets, and gives none to it", async () => {
    await server.call(server.platformKey, "PUT", "/v1/secrets/only-main", { value })
    const reader = await readerOf(join(directory, "data"), server.test.database)
    await expect(reader.read("other", ["only-main"])).rejects.toThrow("no secret")
  })

  it("lets operators see that a secret is there, and administrators alone change it", async () => {
    const [viewer, operator, admin] = [await keyOf("viewer"), await keyOf("operator"), await keyOf("admin")]
    await server.call(server.platformKey, "PUT", "/v1/secrets/shared", { value })
    expect((await server.call(viewer, "GET", "/v1/secrets")).status).toBe(403)
    expect((await server.call(operator, "GET", "/v1/secrets/shared")).status).toBe(200)
    expect((await server.call(operator, "PUT", "/v1/secrets/shared", { value })).status).toBe(403)
    expect((await server.call(admin, "PUT", "/v1/secrets/shared", { value })).status).toBe(200)
    const reference = { reference: "env:TOKEN" }
    expect((await server.call(admin, "PUT", "/v1/secrets/pointer", reference)).body.code).toBe(
      "secrets.reference-refused",
    )
    expect((await server.call(server.platformKey, "PUT", "/v1/secrets/pointer", reference)).body).toMatchObject({
      kind: "env",
      reference: "env:TOKEN",
    })
    const file = { reference: "file:/etc/hostname" }
    expect((await server.call(server.platformKey, "PUT", "/v1/secrets/pointer", file)).body.code).toBe(
      "secrets.reference-refused",
    )
  })

  it("refuses what can't be masked, both or neither of value and reference, and strange references", async () => {
    for (const body of [
      { value: "12345" },
      {},
      { value, reference: "env:TOKEN" },
      { reference: "http://example/" },
      { reference: "file:relative" },
    ]) {
      const answer = await server.call(server.platformKey, "PUT", "/v1/secrets/strange", body)
      expect(answer.body.code, JSON.stringify(body)).toBe("request.invalid-input")
      expect(JSON.stringify(answer.body)).not.toContain(value)
    }
  })

  it("X5: a value is in no table, no log, no event and no answer; nor is a digest by which it could be guessed", async () => {
    const hidden = "needle-in-the-records-8f3a"
    const { platformKey: key } = server
    const viewer = await keyOf("viewer")
    const url = `${server.url}/v1/secrets/hidden`
    const put = (body: string, token = key) =>
      fetch(url, {
        method: "PUT",
        headers: {
          authorization: `Bearer ${token}`,
          "content-type": "application/json",
          "idempotency-key": "the-same-key-twice",
        },
        body,
      }).then(async (answer) => ({ status: answer.status, text: await answer.text() }))
    const answers = [
      await put(JSON.stringify({ value: hidden })),
      await put(JSON.stringify({ value: hidden })),
      await put(JSON.stringify({ value: `${hidden}-other` })),
      await put(JSON.stringify({ value: hidden }), viewer),
      await put(JSON.stringify({ value: hidden, more: hidden })),
      await put(`{"value":"${hidden}`),
      await put(JSON.stringify({ value: `${hidden}\u0000` })),
    ]
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 422, 403, 400, 400, 400])
    const reader = await readerOf(join(directory, "data"), server.test.database)
    expect((await reader.read("main", ["hidden"]))["hidden"]?.value).toBe(hidden)
    const dump = await dumpOf(server.test.database)
    expect(dump).toContain("secret/main/hidden")
    for (const text of [dump, log, ...answers.map((answer) => answer.text)]) {
      expect(text).not.toContain(hidden)
      expect(text).not.toContain(Buffer.from(hidden).toString("hex"))
      expect(text).not.toContain(Buffer.from(hidden).toString("base64").slice(0, 24))
    }
    const rows = await server.test.database.query<{ input_digest: string }>(
      "select input_digest from audit where operation = 'secrets.put' and subject = 'secret/main/hidden'",
    )
    const { createHash } = await import("node:crypto")
    const guess = createHash("sha256").update(`secrets.put\0{"name":"hidden","value":"${hidden}"}`).digest("hex")
    expect(rows).toHaveLength(1)
    expect(rows[0]?.input_digest).not.toBe(guess)
  })
})

describe("X5: the master key", () => {
  it("is made at the first start, for its owner alone, and a later start reads it", async () => {
    const path = join(directory, "data", "master.key")
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    const before = await readFile(path, "utf8")
    await readerOf(join(directory, "data"), server.test.database)
    expect(await readFile(path, "utf8")).toBe(before)
  })

  it("is never made anew over existing secrets, and another one is refused", async () => {
    const empty = join(directory, "another")
    await expect(readerOf(empty, server.test.database)).rejects.toSatisfy((error) =>
      hasCode(error, "secrets.master-key-missing"),
    )
    await mkdir(empty)
    const path = join(empty, "master.key")
    await writeFile(path, `${Buffer.alloc(32, "other").toString("base64")}\n`, { mode: 0o600 })
    await expect(readerOf(empty, server.test.database)).rejects.toSatisfy((error) =>
      hasCode(error, "secrets.master-key-wrong"),
    )
  })

  it("of two servers that start for the first time at once, one is the installation's and the other is refused", async () => {
    const test = await createTestDatabase()
    try {
      const sourceOf = (byte: number) => {
        const key = Buffer.alloc(32, byte)
        return { place: `server ${byte}`, read: () => Promise.resolve(key), create: () => Promise.resolve(key) }
      }
      const opening = await test.database.transaction(async (tx) => {
        await tx.query("insert into secret_master_key (fingerprint) values ($1)", [fingerprintOf(Buffer.alloc(32, 1))])
        const second = openMasterKey(test.database, sourceOf(2)).catch((error: unknown) => error)
        await expect
          .poll(
            () =>
              test.database.query(
                "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
              ),
            { timeout: 30_000 },
          )
          .toHaveLength(1)
        // Wrapped: what the transaction gives is awaited before it commits.
        return { second }
      })
      expect(hasCode(await opening.second, "secrets.master-key-wrong")).toBe(true)
      expect(await openMasterKey(test.database, sourceOf(1))).toMatchObject({ masterKey: Buffer.alloc(32, 1) })
    } finally {
      await test.drop()
    }
  })

  it("given by a setting has to be there, to be a key, and to be closed to others", async () => {
    const test = await createTestDatabase()
    try {
      const path = join(directory, "given.key")
      const open = () =>
        createSecretsService({
          ...outside,
          database: test.database,
          masterKey: masterKeyInFile({ dataDirectory: directory, file: path }),
          references: noReferences,
        })
      await expect(open()).rejects.toThrow("ENOENT")
      await writeFile(path, "not a key", { mode: 0o600 })
      await expect(open()).rejects.toThrow("32 bytes in base64")
      await writeFile(path, Buffer.alloc(32, 1).toString("base64"))
      const { chmod } = await import("node:fs/promises")
      await chmod(path, 0o644)
      await expect(open()).rejects.toThrow("chmod 600")
      await chmod(path, 0o640)
      await open()
    } finally {
      await test.drop()
    }
  })

  it("X6: goes along in a backup, so that a restored installation reads its secrets", async () => {
    await server.call(server.platformKey, "PUT", "/v1/secrets/restored", { value })
    const path = join(directory, "a backup")
    const dataDirectory = join(directory, "data")
    const summary = await backupDatabase({
      connection: server.test.connection,
      path,
      programVersion: "0.1.0",
      dataDirectory,
    })
    expect(summary.files).toContain("master.key")
    const empty = await createEmptyDatabase()
    const restored = join(directory, "restored")
    try {
      await restoreDatabase({
        connection: empty.connection,
        path,
        programVersion: "0.1.0",
        components,
        dataDirectory: restored,
      })
      const database = await openDatabase({ connection: empty.connection, connectionsMax: 2 })
      try {
        const reader = await readerOf(restored, database)
        expect((await reader.read("main", ["restored"]))["restored"]?.value).toBe(value)
      } finally {
        await database.close()
      }
    } finally {
      await empty.drop()
    }
  })
})
