import { X509Certificate } from "node:crypto"
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { createServer } from "node:https"
import { request } from "node:https"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { TLSSocket } from "node:tls"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { FakeClock } from "@signalbox/testkit/fake-clock"
import { certificateLimits, ensureServerTls, type ServerTls } from "./certificate-authority.ts"

const day = 86_400_000

let parent: string
let directory: string
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), "signalbox tls-"))
  directory = join(parent, "tls")
})
afterEach(() => rm(parent, { recursive: true, force: true }))

const ensure = (clock: FakeClock, names: string[] = []) => ensureServerTls({ directory, names, clock })

/** What a client sees that trusts the CA and nothing else. */
async function callOver(tls: ServerTls, host: string): Promise<{ status: number | undefined; chainEnd: string }> {
  const server = createServer({ cert: tls.certPem, key: tls.keyPem }, (_, response) => response.end("ok"))
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  try {
    return await new Promise((resolve, reject) => {
      const { port } = server.address() as AddressInfo
      const call = request({ host: "127.0.0.1", port, servername: host, ca: tls.caPem, agent: false }, (response) => {
        const peer = (response.socket as TLSSocket).getPeerCertificate(true)
        resolve({ status: response.statusCode, chainEnd: peer.issuerCertificate.fingerprint256 })
        response.resume()
      })
      call.on("error", reject)
      call.end()
    })
  } finally {
    server.close()
  }
}

describe("X8: the server's own certificate authority", () => {
  test("X8: a client that trusts the pinned CA alone gets through, and finds the CA in the handshake", async () => {
    const tls = await ensure(new FakeClock(Date.now()), ["signalbox.example.org", "192.0.2.7"])
    const seen = await callOver(tls, "signalbox.example.org")
    expect(seen.status).toBe(200)
    expect(seen.chainEnd.replaceAll(":", "").toLowerCase()).toBe(tls.caFingerprint)
    await expect(callOver(tls, "other.example.org")).rejects.toThrow(/altnames/i)
    const certificate = new X509Certificate(tls.certPem)
    for (const address of ["127.0.0.1", "::1", "192.0.2.7"]) expect(certificate.checkIP(address)).toBe(address)
    expect(certificate.ca).toBe(false)
    expect(new X509Certificate(tls.caPem).ca).toBe(true)
  })

  test("X8: nobody else can read the keys, and a loose mode is mended", async () => {
    const clock = new FakeClock(Date.now())
    await ensure(clock)
    await chmod(join(directory, "authority.pem"), 0o644)
    await ensure(clock)
    expect((await stat(directory)).mode & 0o777).toBe(0o700)
    for (const name of ["authority.pem", "server.pem"])
      expect((await stat(join(directory, name))).mode & 0o777).toBe(0o600)
    expect(await readFile(join(directory, "ca.pem"), "utf8")).not.toContain("PRIVATE")
  })

  test("X8: a second start uses the same certificates", async () => {
    const clock = new FakeClock(Date.now())
    const first = await ensure(clock)
    expect(await ensure(clock)).toEqual(first)
  })

  test("X8: the server's certificate is renewed before it ends, and for a new name; the CA stays", async () => {
    const clock = new FakeClock(Date.now())
    const first = await ensure(clock)
    const named = await ensure(clock, ["new.example.org"])
    expect(named.keyPem).not.toBe(first.keyPem)
    clock.advance((certificateLimits.serverDays - certificateLimits.renewDays - 3) * day)
    expect((await ensure(clock, ["new.example.org"])).keyPem).toBe(named.keyPem)
    clock.advance(5 * day)
    const renewed = await ensure(clock, ["new.example.org"])
    expect(renewed.keyPem).not.toBe(named.keyPem)
    expect(Date.parse(new X509Certificate(renewed.certPem).validTo)).toBeGreaterThan(
      clock.now() + (certificateLimits.serverDays - 2) * day,
    )
    expect(renewed.caFingerprint).toBe(first.caFingerprint)
  })

  test("X8: servers that start at once agree on one CA and leave nothing half-written", async () => {
    const clock = new FakeClock(Date.now())
    const all = await Promise.all(Array.from({ length: 6 }, () => ensure(clock)))
    expect(new Set(all.map((tls) => tls.caFingerprint)).size).toBe(1)
    for (const tls of all) {
      const issuer = new X509Certificate(tls.caPem).publicKey
      expect(new X509Certificate(tls.certPem).verify(issuer)).toBe(true)
    }
    expect((await readdir(directory)).toSorted()).toEqual(["authority.pem", "ca.pem", "server.pem"])
  })

  test("a damaged file is named, and is not replaced", async () => {
    const clock = new FakeClock(Date.now())
    await ensure(clock)
    await writeFile(join(directory, "authority.pem"), "nonsense")
    await expect(ensure(clock)).rejects.toMatchObject({
      code: "settings.invalid",
      message: expect.stringContaining("authority.pem"),
    })
    expect(await readFile(join(directory, "authority.pem"), "utf8")).toBe("nonsense")
  })
})
