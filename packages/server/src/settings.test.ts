import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { isAppError } from "@signalbox/kernel/app-error"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { readSettings, type Settings } from "./settings.ts"

let directory: string
beforeAll(async () => void (directory = await mkdtemp(join(tmpdir(), "signalbox settings "))))
afterAll(() => rm(directory, { recursive: true }))

const read = (flags: Record<string, unknown>, variables: Record<string, string> = {}): Settings =>
  readSettings({ flags: { data: "/data", ...flags }, variables })

function refusal(flags: Record<string, unknown>): string {
  try {
    read(flags)
  } catch (error) {
    if (isAppError(error) && error.code === "settings.invalid") return error.message
    throw error
  }
  throw new Error("the settings were not refused")
}

describe("settings", () => {
  it("come from flags, then variables, then the file; what the file says wrong is refused", async () => {
    const file = join(directory, "a file.yaml")
    await writeFile(file, "port: 1\nhost: from.file\nblobs-bytes-max: 3\nsecret-references: [env, file]\n")
    const settings = readSettings({ flags: { port: "2" }, variables: { SIGNALBOX_HOST: "from.variable" }, file })
    expect(settings).toMatchObject({ port: 2, host: "from.variable", blobs: { bytesMax: 3 }, file })
    expect(settings.secretReferences).toEqual(["env", "file"])
    await writeFile(file, "prot: 1\n")
    expect(() => readSettings({ flags: {}, variables: {}, file })).toThrow("unknown setting")
  })

  it("of mail need a sender, certificates that are there, and a URL that can be read", () => {
    const url = "smtp://user:p%25w@mail.example.org"
    expect(read({ "smtp-url": url, "smtp-from": "a@b.c" }).mail).toEqual({ url, from: "a@b.c", startTls: "require" })
    expect(refusal({ "smtp-url": url })).toContain("smtp-from")
    expect(refusal({ "smtp-url": url, "smtp-from": "a@b.c", "smtp-ca-file": "/no/such" })).toContain("smtp-ca-file")
    const bad = refusal({ "smtp-url": "smtp://user:p%w@mail.example.org", "smtp-from": "a@b.c" })
    expect(bad).toContain("%25")
    expect(bad).not.toContain("p%w")
  })

  it("of the S3 store need both keys, which may come by the names that other programs use", () => {
    const url = "https://s3.example.org/bucket"
    expect(refusal({ "blobs-s3-url": url })).toContain("blobs-s3-access-key")
    const keys = { AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "key", AWS_REGION: "eu-1" }
    expect(read({ "blobs-s3-url": url }, keys).blobs.s3).toEqual({
      ...{ url, region: "eu-1", accessKey: "id", secretKey: "key" },
    })
    expect(read({}, keys).blobs).toEqual({ directory: "/data/blobs", bytesMax: 50 * 1024 ** 3 })
  })

  it("of outgoing calls name hosts and ranges; a host that needs no proxy means all below it", () => {
    const { egress } = read(
      { "egress-allow": "10.0.0.0/8, hooks.local:8080" },
      { HTTPS_PROXY: "proxy:3128", NO_PROXY: "b.c" },
    )
    expect(egress.allow).toHaveLength(2)
    expect(egress).toMatchObject({
      proxyUrl: "http://proxy:3128",
      noProxy: [{ kind: "host", host: "b.c", below: true }],
    })
    expect(refusal({ "egress-allow": "not a host" })).toContain("egress-allow")
    expect(refusal({ "secret-references": "env,vault" })).toContain("vault")
  })
})
