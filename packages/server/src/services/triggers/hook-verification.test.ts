import { createHmac } from "node:crypto"
import { Webhook } from "standardwebhooks"
import { describe, expect, test } from "vitest"
import { secretFault, toStandardSecret, verifyMessage, type HookSpec } from "./hook-verification.ts"

const now = Date.parse("2030-01-01T00:00:00Z")
const body = Buffer.from('{"of":"somebody"}')
const secret = toStandardSecret(Buffer.alloc(32, 5))

const specOf = (more: Partial<HookSpec>): HookSpec => ({ verify: "standard", headers: [], enabled: true, ...more })

function signedByLibrary(id: string, at: number): Record<string, string> {
  const signature = new Webhook(secret).sign(id, new Date(at), body.toString())
  return { "webhook-id": id, "webhook-timestamp": String(Math.floor(at / 1000)), "webhook-signature": signature }
}

describe("standard", () => {
  const spec = specOf({})

  test("what the reference library signs is genuine, and its id is the message's", () => {
    const headers = signedByLibrary("msg_1", now)
    expect(verifyMessage(spec, [secret], { headers, body, now })).toEqual({ isGenuine: true, id: "msg_1" })
  })

  test("with the secret before it too, and with several signatures", () => {
    const other = toStandardSecret(Buffer.alloc(32, 6))
    const headers = signedByLibrary("msg_1", now)
    headers["webhook-signature"] = `v1a,xx v1,AAAA ${headers["webhook-signature"]}`
    expect(verifyMessage(spec, [other, secret], { headers, body, now }).isGenuine).toBe(true)
    expect(verifyMessage(spec, [other], { headers, body, now }).isGenuine).toBe(false)
  })

  test.each([
    ["another body", {}, Buffer.from("{}"), 0],
    ["another id", { "webhook-id": "msg_2" }, body, 0],
    ["another time", { "webhook-timestamp": String(now / 1000 + 1) }, body, 0],
    ["no signature", { "webhook-signature": "" }, body, 0],
    ["five minutes and more late", {}, body, 301_000],
    ["five minutes and more early", {}, body, -301_000],
  ] as const)("%s is forged", (...[_name, change, bytes, later]) => {
    const headers = { ...signedByLibrary("msg_1", now), ...change }
    expect(verifyMessage(spec, [secret], { headers, body: bytes, now: now + later })).toEqual({ isGenuine: false })
  })
})

test("github: the example of GitHub's documentation is genuine", () => {
  const spec = specOf({ verify: "github" })
  const headers = {
    "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    "x-github-delivery": "d1",
  }
  const message = { headers, body: Buffer.from("Hello, World!"), now }
  expect(verifyMessage(spec, ["It's a Secret to Everybody"], message)).toEqual({ isGenuine: true, id: "d1" })
  expect(verifyMessage(spec, ["It's a secret to everybody"], message)).toEqual({ isGenuine: false })
})

test("hmac: header, prefix, algorithm and encoding as they are said", () => {
  const signature = { header: "x-sign", prefix: "v0=", algorithm: "sha512", encoding: "base64" } as const
  const spec = specOf({ verify: "hmac", signature, idHeader: "x-id" })
  const text = createHmac("sha512", "0123456789abcdef").update(body).digest("base64")
  const judge = (sign: string) =>
    verifyMessage(spec, ["0123456789abcdef"], { headers: { "x-sign": sign, "x-id": "7" }, body, now })
  expect(judge(`v0=${text}`)).toEqual({ isGenuine: true, id: "7" })
  for (const wrong of [text, `v0=${text.slice(0, -2)}`, `v0=${text.toLowerCase()}`, "v0=", ""])
    expect(judge(wrong).isGenuine, wrong).toBe(false)
})

test("bearer: the secret, whole; path: whatever has come so far", () => {
  const headers = { authorization: "Bearer 0123456789abcdef" }
  const bearer = specOf({ verify: "bearer" })
  expect(verifyMessage(bearer, ["0123456789abcdef"], { headers, body, now })).toEqual({
    isGenuine: true,
    id: undefined,
  })
  expect(verifyMessage(bearer, ["0123456789abcde"], { headers, body, now }).isGenuine).toBe(false)
  expect(verifyMessage(bearer, ["0123456789abcdef"], { headers: {}, body, now }).isGenuine).toBe(false)
  expect(verifyMessage(specOf({ verify: "path" }), [], { headers: {}, body, now }).isGenuine).toBe(true)
})

test("a secret for Standard Webhooks is whsec_ and enough bytes", () => {
  expect(secretFault("standard", secret)).toBeUndefined()
  for (const text of ["0123456789abcdefgh", "whsec_AAAA", `${secret}!`])
    expect(secretFault("standard", text)).toBeDefined()
  expect(secretFault("github", "0123456789abcdefgh")).toBeUndefined()
})
