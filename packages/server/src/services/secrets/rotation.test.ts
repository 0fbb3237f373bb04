import { randomBytes } from "node:crypto"
import { existsSync } from "node:fs"
import { copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { hasCode } from "@signalbox/kernel/app-error"
import { createEmptyDatabase, createTestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { startServerFixture, type ServerFixture } from "../../http/edge.fixture.ts"
import { backupDatabase, restoreDatabase } from "../../storage/backup.ts"
import { components } from "../../storage/components.ts"
import { openDatabase, type Database } from "../../storage/database.ts"
import { masterKeyInFile } from "../../storage/master-key-file.ts"
import { startServerLease } from "../../storage/server-lease.ts"
import { systemClock, systemRandom } from "../../system.ts"
import { readLinkToken, makeLinkToken } from "../approvals/link-token.ts"
import { sealedInputs } from "../approvals/sealed-inputs.ts"
import { sealedMessages } from "../notifications/sealed-messages.ts"
import { fingerprintOf, markSecretInput, seal } from "./envelope.ts"
import { rewrapPageRows } from "./rewrap.ts"
import { createSecretsService, type SecretsService } from "./service.ts"

const value = "Tr0ub4dor-and-3"
const quiet = { info: () => undefined, warn: () => undefined }
const waiting = { timeout: 60_000, interval: 50 }

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox rotation "))
})
afterAll(() => rm(directory, { recursive: true }))

interface Made {
  readonly dataDirectory: string
  readonly server: ServerFixture
  readonly key: string
  status(): Promise<Record<string, unknown> & { rotation?: { stage: string; waitsFor: string[] } }>
  rotate(): Promise<number>
}

async function makeServer(name: string): Promise<Made> {
  const dataDirectory = join(directory, name)
  await mkdir(dataDirectory, { recursive: true })
  const server = await startServerFixture({ masterKey: masterKeyInFile({ dataDirectory }) })
  const key = server.platformKey
  return {
    ...{ dataDirectory, server, key },
    status: async () => (await server.call(key, "GET", "/v1/master-key")).body as Awaited<ReturnType<Made["status"]>>,
    rotate: async () => (await server.call(key, "POST", "/v1/master-key:rotate", {})).status,
  }
}

/** Another process's view: whoever has the key of that directory. */
function openIn(dataDirectory: string, database: Database, serverId?: string): Promise<SecretsService> {
  return createSecretsService({
    ...{ database, clock: systemClock, random: systemRandom, logger: quiet },
    masterKey: masterKeyInFile({ dataDirectory }),
    references: { kinds: [], environment: {} },
    ...(serverId === undefined ? {} : { serverId, rotationPollMilliseconds: 20 }),
  })
}

async function keyOf(dataDirectory: string, file = "master.key"): Promise<Buffer> {
  return Buffer.from(await readFile(join(dataDirectory, file), "utf8"), "base64")
}

async function countOld(database: Database, generation: number): Promise<number> {
  const prefix = `g${generation}.`
  const [row] = await database.query<{ count: number }>(
    `select (select count(*) from secret_versions where sealed is not null and generation <> $1)
       + (select count(*) from held_operations where not starts_with(sealed, $2))
       + (select count(*) from deliveries where not starts_with(message ->> 'sealed', $2)) as count`,
    [generation, prefix],
  )
  return Number(row?.count)
}

/** Sealed texts as they lie where calls are held and messages wait. */
async function insertSealed(service: SecretsService, database: Database, name: string): Promise<void> {
  const input = service.sealerFor(sealedInputs).seal({ account: "main", use: sealedInputs.use, id: "hash" }, value)
  await database.query(
    `insert into held_operations (request_id, account, operation, sealed, principal, roles, idempotency_key, body_hash,
       state, created_at) values ($1, 'main', 'secrets.put', $2, 'key:x', '{}', 'k', 'hash', 'waiting', now())`,
    [`apr_${name}`, input],
  )
  const { use } = sealedMessages
  const text = service.sealerFor(sealedMessages).seal({ account: "main", use, id: use }, value)
  await database.query(
    `insert into deliveries (id, account, state, channel, via, message_id, event, message, cause, depth, created_at, finished_at)
     values ($1, 'main', 'dead', 'x', 'mail', 'm', '{}', $2, 'c', 0, now(), now())`,
    [`dlv_${name}`, JSON.stringify({ title: "t", sealed: text })],
  )
}

async function readSealed(service: SecretsService, database: Database): Promise<string[]> {
  const [held, delivery] = await Promise.all([
    database.query<{ sealed: string }>("select sealed from held_operations order by 1"),
    database.query<{ sealed: string }>("select message ->> 'sealed' as sealed from deliveries"),
  ])
  const { use } = sealedMessages
  return [
    ...held.map(({ sealed }) =>
      service.sealerFor(sealedInputs).unseal({ account: "main", use: sealedInputs.use, id: "hash" }, sealed),
    ),
    ...delivery.map(({ sealed }) =>
      service.sealerFor(sealedMessages).unseal({ account: "main", use, id: use }, sealed),
    ),
  ]
}

describe("X5: the rotation of the master key", () => {
  it("wraps everything anew while the server works, keeps links and digests, and lets go of the old key", async () => {
    const { server, key, dataDirectory, status, rotate } = await makeServer("one")
    const { database } = server.test
    try {
      const before = await openIn(dataDirectory, database)
      const put = (name: string, idempotencyKey: string) =>
        fetch(`${server.url}/v1/secrets/${name}`, {
          method: "PUT",
          headers: {
            authorization: `Bearer ${key}`,
            "content-type": "application/json",
            "idempotency-key": idempotencyKey,
          },
          body: JSON.stringify({ value }),
        })
      expect((await put("database", "the-same-call-twice")).status).toBe(200)
      await insertSealed(before, database, "1")
      const place = { account: "main", requestId: `apr_${"0".repeat(26)}`, linkId: `apl_${"1".repeat(26)}` }
      const link = makeLinkToken(place, before.macFor("answer links"))
      const old = await keyOf(dataDirectory)
      expect(await status()).toEqual({ fingerprint: fingerprintOf(old), generation: 1 })

      expect(await rotate()).toBe(200)
      await expect.poll(async () => (await status()).rotation, waiting).toBeUndefined()
      const next = await keyOf(dataDirectory)
      expect(next.equals(old)).toBe(false)
      expect(await status()).toMatchObject({ fingerprint: fingerprintOf(next), generation: 2 })
      expect(await countOld(database, 2)).toBe(0)
      for (const file of ["master.key.next", "master.key.previous"])
        expect(existsSync(join(dataDirectory, file))).toBe(false)

      const after = await openIn(dataDirectory, database)
      expect((await after.reader.read("main", ["database"]))["database"]?.value).toBe(value)
      expect(await readSealed(after, database)).toEqual([value, value])
      expect(readLinkToken(link, after.macFor("answer links"))).toEqual(place)
      expect(readLinkToken(link.replace(/.$/, "_"), after.macFor("answer links"))).toBeUndefined()
      expect(after.markInput(value)).toBe(before.markInput(value))
      // The same call again is still known as the same.
      expect((await put("database", "the-same-call-twice")).status).toBe(200)
      expect((await put("later", "a-later-call-than-that")).status).toBe(200)
      const [later] = await database.query("select generation from secret_versions where name = 'later'")
      expect(later).toEqual({ generation: 2 })

      // The old key opens nothing any more.
      const stale = join(directory, "stale")
      await mkdir(stale)
      await writeFile(join(stale, "master.key"), old.toString("base64"), { mode: 0o600 })
      await expect(openIn(stale, database)).rejects.toSatisfy((error) => hasCode(error, "secrets.master-key-wrong"))
      const [left] = await database.query(
        "select count(*)::int as count from secret_key_slots where fingerprint = $1",
        [fingerprintOf(old)],
      )
      expect(left).toEqual({ count: 0 })

      // And once more.
      expect(await rotate()).toBe(200)
      await expect.poll(async () => (await status())["generation"], waiting).toBe(3)
      await expect.poll(async () => (await status()).rotation, waiting).toBeUndefined()
      expect(await readSealed(await openIn(dataDirectory, database), database)).toEqual([value, value])
      const events = await database.query<{ type: string }>(
        "select type from outbox where subject = 'master-key' order by subject_version",
      )
      expect(events.map(({ type }) => type)).toEqual([
        ...["master-key.rotation-started", "master-key.rotated", "master-key.rotation-started", "master-key.rotated"],
      ])
    } finally {
      await server.stop()
    }
  }, 180_000)

  it("waits for a server that has not got the next key, names it, and refuses a second rotation meanwhile", async () => {
    const { server, dataDirectory, status, rotate, key } = await makeServer("two")
    const { database } = server.test
    const other = join(directory, "two-other")
    await mkdir(other)
    await copyFile(join(dataDirectory, "master.key"), join(other, "master.key"))
    const lease = await startServerLease({ database, serverId: "srv_a_other" })
    const second = await openIn(other, database, "srv_a_other")
    try {
      await server.call(key, "PUT", "/v1/secrets/shared", { value })
      await insertSealed(second, database, "1")
      await second.service.start?.()
      expect(await rotate()).toBe(200)
      expect(await rotate()).toBe(409)
      // As its watcher of the configuration does.
      await second.listener.load("*", 1)
      await expect
        .poll(async () => (await status()).rotation, waiting)
        .toMatchObject({ stage: "adopting", waitsFor: ["srv_a_other"] })
      // Both keys open the installation, and nothing lies under the new generation yet.
      await server.call(key, "PUT", "/v1/secrets/shared", { value: `${value}-2` })
      expect((await second.reader.read("main", ["shared"]))["shared"]?.value).toBe(`${value}-2`)
      expect(await countOld(database, 2)).toBe(4)
      expect(existsSync(join(dataDirectory, "master.key.previous"))).toBe(true)

      await copyFile(join(dataDirectory, "master.key"), join(other, "master.key.next"))
      await expect.poll(async () => (await status()).rotation, waiting).toBeUndefined()
      expect((await keyOf(other)).equals(await keyOf(dataDirectory))).toBe(true)
      await second.listener.load("*", 2)
      expect(existsSync(join(other, "master.key.previous"))).toBe(false)
      expect(await readSealed(second, database)).toEqual([value, value])
    } finally {
      await second.service.stop?.()
      await lease.stop()
      await server.stop()
    }
  }, 180_000)

  it("goes on after the loss of the server at each stage, whichever files it had moved by then", async () => {
    const { server, dataDirectory, rotate, key } = await makeServer("three")
    const { database } = server.test
    try {
      const rows = rewrapPageRows + 5
      for (let number = 0; number < rows; number += 5)
        await Promise.all(
          [0, 1, 2, 3, 4].map((offset) => server.call(key, "PUT", `/v1/secrets/s-${number + offset}`, { value })),
        )
      // Another server lives that never takes the key up: it stays at the first stage until that one is gone.
      const lease = await startServerLease({ database, serverId: "srv_a_first" })
      const old = await keyOf(dataDirectory)
      expect(await rotate()).toBe(200)
      await server.halt()
      const next = await keyOf(dataDirectory)
      expect(next.equals(old)).toBe(false)
      const all = join(directory, "files")
      const opensWith = async (files: Readonly<Record<string, Buffer>>) => {
        await rm(all, { recursive: true, force: true })
        await mkdir(all)
        for (const [name, bytes] of Object.entries(files))
          await writeFile(join(all, name), bytes.toString("base64"), { mode: 0o600 })
        const { reader } = await openIn(all, database)
        expect((await reader.read("main", ["s-7"]))["s-7"]?.value).toBe(value)
        // Whatever there was, the next key is the key now, and the old one is not lost yet.
        if (Object.values(files).some((bytes) => bytes.equals(next))) expect((await keyOf(all)).equals(next)).toBe(true)
      }
      await opensWith({ "master.key": old })
      await opensWith({ "master.key": old, "master.key.next": next })
      await opensWith({ "master.key": old, "master.key.next": next, "master.key.previous": old })
      await opensWith({ "master.key": next, "master.key.previous": old })

      const first = await openIn(dataDirectory, database, "srv_a_first")
      await first.service.start?.()
      await expect
        .poll(
          () => database.query("select 1 from secret_master_key where rotation ->> 'stage' = 'rewrapping'"),
          waiting,
        )
        .toHaveLength(1)
      // As after a crash: stopped at once, somewhere in its pages.
      await first.service.stop?.()
      await lease.stop()
      const lease2 = await startServerLease({ database, serverId: "srv_b_second" })
      const second = await openIn(dataDirectory, database, "srv_b_second")
      await second.service.start?.()
      await expect
        .poll(() => database.query("select 1 from secret_master_key where rotation is null"), waiting)
        .toHaveLength(1)
      expect(await countOld(database, 2)).toBe(0)
      const names = Array.from({ length: rows }, (_, number) => `s-${number}`)
      const values = await second.reader.read("main", names)
      expect(new Set(names.map((name) => values[name]?.value))).toEqual(new Set([value]))
      await second.service.stop?.()
      await lease2.stop()
    } finally {
      await server.stop()
    }
  }, 180_000)

  it("begins from what was stored before there were generations", async () => {
    const test = await createTestDatabase()
    const { database } = test
    const dataDirectory = join(directory, "upgraded")
    await mkdir(dataDirectory)
    const old = randomBytes(32)
    await writeFile(join(dataDirectory, "master.key"), old.toString("base64"), { mode: 0o600 })
    try {
      await database.query("insert into accounts (account, title) values ('main', 'main') on conflict do nothing")
      await database.query("insert into secret_master_key (fingerprint) values ($1)", [fingerprintOf(old)])
      const { wrappedKey, sealed } = seal(old, { account: "main", name: "old", version: 1 }, value)
      await database.query("insert into secrets (account, name, version) values ('main', 'old', 1)")
      await database.query(
        `insert into secret_versions (account, name, version, kind, wrapped_key, sealed, created_by)
         values ('main', 'old', 1, 'value', $1, $2, 'key:x')`,
        [wrappedKey, sealed],
      )
      const service = await openIn(dataDirectory, database)
      expect((await service.reader.read("main", ["old"]))["old"]?.value).toBe(value)
      expect(service.markInput(value)).toBe(markSecretInput(old)(value))
    } finally {
      await test.drop()
    }
  })

  it("X10: forgets which key servers had that are gone since a day", async () => {
    const { server, dataDirectory } = await makeServer("starts")
    const { database } = server.test
    try {
      await database.query(
        `insert into secret_key_users (server_id, fingerprint, generation, seen_at)
         values ('srv_old', 'x', 1, now() - interval '2 days'), ('srv_late', 'x', 1, now() - interval '1 hour'),
           ('srv_alive', 'x', 1, now() - interval '9 days')`,
      )
      await database.query(
        "insert into server (id, worker_ids, leased_until) values ('srv_alive', '{}', now() + interval '1 hour')",
      )
      await openIn(dataDirectory, database, "srv_new")
      const rows = await database.query<{ id: string }>("select server_id as id from secret_key_users order by 1")
      expect(rows.map(({ id }) => id)).toEqual(["srv_alive", "srv_late", "srv_new", "srv_test"])
    } finally {
      await server.stop()
    }
  })

  it("takes a key that somebody else provides from the file beside it, and never moves that", async () => {
    const test = await createTestDatabase()
    const file = join(directory, "given.key")
    await writeFile(file, randomBytes(32).toString("base64"), { mode: 0o600 })
    const source = masterKeyInFile({ dataDirectory: directory, file })
    try {
      await expect(source.rotation.makeNext()).rejects.toSatisfy((error) => hasCode(error, "secrets.next-key-missing"))
      await writeFile(`${file}.next`, randomBytes(32).toString("base64"), { mode: 0o600 })
      const before = await readFile(file, "utf8")
      await source.rotation.promoteNext()
      expect(await readFile(file, "utf8")).toBe(before)
      await rename(`${file}.next`, `${file}.other`)
    } finally {
      await test.drop()
    }
  })

  it("X6: leaves a backup that opens, also one that is made in its middle", async () => {
    const { server, dataDirectory, rotate, key } = await makeServer("backed-up")
    const { database, connection } = server.test
    const lease = await startServerLease({ database, serverId: "srv_a_slow" })
    const empty = await createEmptyDatabase()
    try {
      await server.call(key, "PUT", "/v1/secrets/kept", { value })
      expect(await rotate()).toBe(200)
      const path = join(directory, "a backup")
      const summary = await backupDatabase({ connection, path, programVersion: "0.1.0", dataDirectory })
      expect(summary.files).toEqual(expect.arrayContaining(["master.key", "master.key.previous"]))
      const restored = join(directory, "restored")
      await restoreDatabase({
        ...{ connection: empty.connection, path, programVersion: "0.1.0", components, dataDirectory: restored },
      })
      await rm(join(restored, "master.key"))
      const copy = await openDatabase({ connection: empty.connection, connectionsMax: 2 })
      try {
        // Either of the two is enough.
        await rename(join(restored, "master.key.previous"), join(restored, "master.key"))
        const { reader } = await openIn(restored, copy)
        expect((await reader.read("main", ["kept"]))["kept"]?.value).toBe(value)
      } finally {
        await copy.close()
      }
    } finally {
      await lease.stop()
      await empty.drop()
      await server.stop()
    }
  }, 180_000)
})
