import { createHash, createPublicKey, X509Certificate } from "node:crypto"
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { createServer as createHttpsServer } from "node:https"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { nodesEnroll } from "@signalbox/contracts/fleet/operations"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { readIdentity, readPrivateKey } from "./agent-identity.ts"
import { testCertificate, testCertificateAuthority, testCertificateKey } from "./certificates.fixture.ts"
import { defaultNodeName, enrollAgent, normalizeFingerprint } from "./enroll.ts"

let base: string
let server: Server | undefined
let calls: Array<{ path: string; headers: IncomingMessage["headers"]; body: string }>
let answer: (response: ServerResponse) => void
const dataDirectory = () => join(base, "agent data")
const fingerprint = createHash("sha256").update(new X509Certificate(testCertificateAuthority).raw).digest("hex")
const enrolled = { node: "nod_1", name: "web-1", account: "acc_1", tags: {} }
const reply = (status: number, body: unknown) => (response: ServerResponse) =>
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))

async function listen(tls: boolean): Promise<string> {
  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    let body = ""
    for await (const chunk of request) body += String(chunk)
    calls.push({ path: `${request.method} ${request.url}`, headers: request.headers, body })
    if (request.url === "/v1/ca.pem") return response.end(testCertificateAuthority)
    answer(response)
  }
  const listener = (request: IncomingMessage, response: ServerResponse) => void handle(request, response)
  server = tls
    ? createHttpsServer({ cert: testCertificate, key: testCertificateKey }, listener)
    : createHttpServer(listener)
  const { promise, resolve } = Promise.withResolvers<void>()
  server.listen(0, "127.0.0.1", resolve)
  await promise
  return `${tls ? "https" : "http"}://127.0.0.1:${(server.address() as AddressInfo).port}`
}

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "signalbox enroll "))
  calls = []
  answer = reply(200, enrolled)
})

afterEach(() => {
  server?.closeAllConnections()
  server?.close()
  server = undefined
  rmSync(base, { recursive: true, force: true })
})

describe("enrolment", () => {
  test("X7: sends the key as bearer and its own public key, and keeps the identity for itself", async () => {
    const serverUrl = await listen(false)
    const identity = await enrollAgent({
      serverUrl: `${serverUrl}/`,
      key: "sbx_code",
      name: "web-1",
      tags: { role: "web" },
      dataDirectory: dataDirectory(),
    })
    expect(identity).toEqual({ version: 1, node: "nod_1", name: "web-1", account: "acc_1", serverUrl })
    expect(await readIdentity(dataDirectory())).toEqual(identity)
    const call = calls.at(-1)
    expect(call?.path).toBe("POST /v1/nodes:enroll")
    expect(call?.headers).toMatchObject({
      authorization: "Bearer sbx_code",
      "idempotency-key": expect.stringMatching(/^[\x21-\x7e]{8,128}$/),
    })
    const body = nodesEnroll.input.parse(JSON.parse(call?.body ?? ""))
    const own = createPublicKey(await readPrivateKey(dataDirectory())).export({ type: "spki", format: "der" })
    expect(body).toMatchObject({ name: "web-1", tags: { role: "web" }, publicKey: own.toString("base64") })
    expect(statSync(dataDirectory()).mode & 0o777).toBe(0o700)
    for (const name of ["identity.json", "agent-key.pem"])
      expect(statSync(join(dataDirectory(), name)).mode & 0o777).toBe(0o600)
    expect(existsSync(join(dataDirectory(), "lock"))).toBe(false)
    expect(readFileSync(join(dataDirectory(), "identity.json"), "utf8")).not.toContain("sbx_code")
  })

  test("X8: pins the server's CA by its fingerprint, however that is written", async () => {
    const serverUrl = await listen(true)
    const colons = fingerprint.toUpperCase().replace(/(..)(?=.)/g, "$1:")
    const identity = await enrollAgent({
      serverUrl,
      key: "k",
      caFingerprint: `SHA256:${colons}`,
      dataDirectory: dataDirectory(),
    })
    expect(identity.caFile).toBe("ca.pem")
    expect(readFileSync(join(dataDirectory(), "ca.pem"), "utf8").trim()).toBe(testCertificateAuthority.trim())
  })

  test("X8: another CA than the pinned one gets no key", async () => {
    const serverUrl = await listen(true)
    const wrong = { serverUrl, key: "k", caFingerprint: "ab".repeat(32), dataDirectory: dataDirectory() }
    await expect(enrollAgent(wrong)).rejects.toMatchObject({ code: "cli.certificate-untrusted" })
    await expect(enrollAgent({ serverUrl, key: "k", dataDirectory: dataDirectory() })).rejects.toMatchObject({
      code: "cli.certificate-untrusted",
    })
    expect(calls.map(({ path }) => path)).toEqual(["GET /v1/ca.pem"])
    expect(existsSync(join(dataDirectory(), "identity.json"))).toBe(false)
  })

  test("X8: plain HTTP away from loopback is refused unless asked for", async () => {
    const options = { serverUrl: "http://192.0.2.1:1", key: "k", dataDirectory: dataDirectory() }
    await expect(enrollAgent(options)).rejects.toMatchObject({ code: "settings.plaintext-refused" })
    await expect(enrollAgent({ ...options, serverUrl: "ftp://x" })).rejects.toMatchObject({ code: "settings.invalid" })
  })

  test("X7: after a reply that got lost the same call finishes the same enrolment", async () => {
    const serverUrl = await listen(false)
    answer = (response) => response.destroy()
    const options = { serverUrl, key: "k", name: "web-1", dataDirectory: dataDirectory() }
    await expect(enrollAgent(options)).rejects.toMatchObject({ code: "cli.no-server" })
    answer = reply(200, enrolled)
    await enrollAgent(options)
    const [first, second] = calls
    expect(second?.body).toBe(first?.body)
    expect(second?.headers["idempotency-key"]).toBe(first?.headers["idempotency-key"])
    await expect(enrollAgent(options)).rejects.toMatchObject({ code: "agent.already-enrolled" })
  })

  test("the server's refusal keeps its code", async () => {
    const serverUrl = await listen(false)
    answer = reply(403, { code: "fleet.enrollment-key-expired", detail: "expired an hour ago", status: 403 })
    const options = { serverUrl, key: "k", dataDirectory: dataDirectory() }
    await expect(enrollAgent(options)).rejects.toMatchObject({
      code: "fleet.enrollment-key-expired",
      message: "expired an hour ago",
    })
    answer = (response) => response.writeHead(404).end("<html>")
    await expect(enrollAgent(options)).rejects.toMatchObject({ code: "cli.no-server" })
  })

  test("a host name becomes a valid node name", () => {
    for (const host of ["Web-1.Example.COM", "-x-", "ünïcode", "", "a".repeat(80), "...", "a_b"]) {
      expect(nodesEnroll.input.shape.name.safeParse(defaultNodeName(host)).success, host).toBe(true)
    }
    expect(defaultNodeName("Web-1.Example.COM")).toBe("web-1.example.com")
    expect(() => normalizeFingerprint("abc")).toThrow("64 hexadecimal")
  })
})
