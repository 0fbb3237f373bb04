import { createHash, generateKeyPairSync, randomBytes } from "node:crypto"
import { SignJWT } from "jose"
import { artifactLimits } from "@signalbox/contracts/artifacts/operations"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { listAbandoned, lockAbandoned } from "./store.ts"
import { startServerFixture, type Answer, type ServerFixture } from "../../http/edge.fixture.ts"

let server: ServerFixture
let key: string

beforeAll(async () => {
  server = await startServerFixture()
  key = server.platformKey
})
afterAll(() => server.stop())

const digestOf = (content: Buffer): string => createHash("sha256").update(content).digest("hex")

function begin(name: string, content: Buffer): Promise<Answer> {
  return server.call(key, "POST", "/v1/artifacts", { name, digest: digestOf(content), bytes: content.length })
}

function write(id: unknown, offset: number, content: Buffer): Promise<Answer> {
  return server.call(key, "POST", `/v1/artifacts/${String(id)}:write`, { offset, content: content.toString("base64") })
}

const finish = (id: unknown): Promise<Answer> => server.call(key, "POST", `/v1/artifacts/${String(id)}:finish`, {})

async function push(name: string, content: Buffer): Promise<string> {
  const { id } = (await begin(name, content)).body
  for (let offset = 0; offset < content.length; offset += artifactLimits.partBytesMax)
    expect((await write(id, offset, content.subarray(offset, offset + artifactLimits.partBytesMax))).status).toBe(200)
  expect((await finish(id)).body).toMatchObject({ state: "ready", digest: digestOf(content) })
  return String(id)
}

function download(digest: string, headers: Record<string, string> = {}, token = key): Promise<Response> {
  return fetch(`${server.url}/v1/artifact-contents/${digest}`, {
    headers: { authorization: `Bearer ${token}`, ...headers },
  })
}

describe("artifacts", () => {
  it("are sent in parts, checked, and come back as they were", async () => {
    const content = randomBytes(artifactLimits.partBytesMax * 2 + 12_345)
    const id = await push("tool", content)
    expect((await server.call(key, "GET", `/v1/artifacts/${id}`)).body).toMatchObject({
      name: "tool",
      bytes: content.length,
      received: content.length,
      state: "ready",
    })
    const answer = await download(digestOf(content))
    expect(answer.headers.get("content-type")).toBe("application/octet-stream")
    expect(Buffer.from(await answer.arrayBuffer()).equals(content)).toBe(true)
    const again = await begin("tool", content)
    expect(again.body).toMatchObject({ id, state: "ready" })
    await push("nothing-in-it", Buffer.alloc(0))
  })

  it("go on where they broke off: the same name and digest give the upload under way", async () => {
    const content = randomBytes(20_000)
    const { id } = (await begin("resumed", content)).body
    await write(id, 0, content.subarray(0, 7000))
    const resumed = (await begin("resumed", content)).body
    expect(resumed).toMatchObject({ id, received: 7000, state: "uploading" })
    const twice = await write(id, 0, content.subarray(0, 7000))
    expect(twice.body).toMatchObject({ code: "artifacts.wrong-offset", details: { received: 7000 } })
    expect((await write(id, 7000, Buffer.alloc(13_001))).body.code).toBe("artifacts.wrong-offset")
    expect((await finish(id)).body.code).toBe("artifacts.incomplete")
    await write(id, 7000, content.subarray(7000))
    expect((await finish(id)).body["state"]).toBe("ready")
    expect((await finish(id)).body["state"]).toBe("ready")
    expect((await write(id, 20_000, Buffer.from("x"))).body.code).toBe("artifacts.wrong-offset")
  })

  it("are refused where what came is not what was announced, and can be sent again", async () => {
    const content = randomBytes(1000)
    const { id } = (await begin("other", content)).body
    await write(id, 0, randomBytes(1000))
    expect((await finish(id)).body.code).toBe("artifacts.digest-mismatch")
    expect((await download(digestOf(content))).status).toBe(404)
    expect((await server.call(key, "GET", `/v1/artifacts/${String(id)}`)).body["received"]).toBe(0)
    await write(id, 0, content)
    expect((await finish(id)).body["state"]).toBe("ready")
  })

  it("give ranges, so that a download goes on where it broke off", async () => {
    const content = Buffer.from("0123456789")
    const digest = digestOf(content)
    await push("ranged", content)
    const ranged = async (range: string): Promise<[number, string | null, string]> => {
      const answer = await download(digest, { range })
      return [answer.status, answer.headers.get("content-range"), await answer.text()]
    }
    expect(await ranged("bytes=3-")).toEqual([206, "bytes 3-9/10", "3456789"])
    expect(await ranged("bytes=3-5")).toEqual([206, "bytes 3-5/10", "345"])
    expect(await ranged("bytes=-2")).toEqual([206, "bytes 8-9/10", "89"])
    expect(await ranged("bytes=5-100")).toEqual([206, "bytes 5-9/10", "56789"])
    expect(await ranged("bytes=10-")).toEqual([416, "bytes */10", ""])
    expect(await ranged("bytes=1-2,4-5")).toEqual([200, null, "0123456789"])
    expect((await download(digest, { range: "bytes=3-", "if-range": '"other"' })).status).toBe(200)
  })

  it("are fetched by the agent of an enrolled node, which may do nothing else with them", async () => {
    const content = Buffer.from("for the agent")
    await push("for-agents", content)
    const keys = generateKeyPairSync("ed25519")
    const enrollment = (await server.call(key, "POST", "/v1/enrollment-keys", {})).body
    const enrolled = await server.call(enrollment["key"] as string, "POST", "/v1/nodes:enroll", {
      name: "fetcher",
      machineId: "machine-1",
      publicKey: keys.publicKey.export({ type: "spki", format: "der" }).toString("base64"),
    })
    const node = enrolled.body["node"] as string
    const token = (): Promise<string> =>
      new SignJWT({ account: "main", machineId: "machine-1", jti: randomBytes(8).toString("hex") })
        .setProtectedHeader({ alg: "EdDSA", kid: node })
        .setSubject(node)
        .setAudience("signalbox")
        .setIssuedAt()
        .setExpirationTime("50s")
        .sign(keys.privateKey)
    const answer = await download(digestOf(content), { range: "bytes=4-" }, await token())
    expect([answer.status, await answer.text()]).toEqual([206, "the agent"])
    expect((await server.call(await token(), "GET", "/v1/artifacts")).status).toBe(403)
  })

  it("of another account are not there, and its content isn't either, even by its digest", async () => {
    const content = Buffer.from("content of main alone")
    const id = await push("private", content)
    const other = (await server.call(key, "POST", "/v1/accounts", { id: "other" })).body["key"] as string
    await expect.poll(async () => (await server.call(other, "GET", "/v1/auth/whoami")).status).toBe(200)
    expect((await server.call(other, "GET", `/v1/artifacts/${id}`)).status).toBe(404)
    expect((await server.call(other, "DELETE", `/v1/artifacts/${id}`)).status).toBe(404)
    expect((await download(digestOf(content), {}, other)).status).toBe(404)
    const claimed = await server.call(other, "POST", "/v1/artifacts", {
      name: "private",
      digest: digestOf(content),
      bytes: content.length,
    })
    expect(claimed.body).toMatchObject({ state: "uploading", received: 0 })
  })

  it("are removed where nobody goes on with them for days, and not where somebody does at that very moment", async () => {
    const { database } = server.test
    const content = randomBytes(500)
    const old = String((await begin("abandoned", content)).body["id"])
    const resumed = String((await begin("resumed", content)).body["id"])
    const age = (id: string) =>
      database.query("update artifacts set touched_at = now() - interval '8 days' where id = $1", [id])
    await age(old)
    await age(resumed)
    expect(await listAbandoned(database, artifactLimits.unfinishedKeptDays, 10)).toHaveLength(2)
    await write(resumed, 0, content)
    const upload = { days: artifactLimits.unfinishedKeptDays }
    await database.transaction(async (tx) => {
      expect(await lockAbandoned(tx, "main", { ...upload, id: resumed })).toBe(false)
      expect(await lockAbandoned(tx, "main", { ...upload, id: old })).toBe(true)
    })
    expect((await finish(resumed)).body).toMatchObject({ state: "ready" })
  })

  it("are removed with what they referenced", async () => {
    const content = randomBytes(500)
    const id = await push("removed", content)
    const references = () =>
      server.test.database.query("select digest from blob_reference where aggregate_id = $1", [id])
    expect(await references()).toEqual([{ digest: digestOf(content) }])
    expect((await server.call(key, "DELETE", `/v1/artifacts/${id}`)).status).toBe(200)
    expect(await references()).toEqual([])
    expect((await download(digestOf(content))).status).toBe(404)
  })
})
