import { chmod, mkdtemp, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { openSigningKey } from "./signing-key.ts"

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox signing key "))
})
afterAll(() => rm(directory, { recursive: true, force: true }))

describe("X3: the signing key", () => {
  test("is made once, by whoever is first, and is nobody else's to read", async () => {
    const dataDirectory = join(directory, "data")
    const [first, ...others] = await Promise.all(Array.from({ length: 5 }, () => openSigningKey({ dataDirectory })))
    expect(first?.keyId).toMatch(/^[0-9a-f]{64}$/)
    for (const other of others) expect(other.keyId).toBe(first?.keyId)
    expect((await stat(join(dataDirectory, "signing.key"))).mode & 0o777).toBe(0o600)
    expect((await openSigningKey({ dataDirectory })).publicKey).toBe(first?.publicKey)
  })

  test("a file that is missing where somebody names it, open to all, or no key, is refused", async () => {
    const file = join(directory, "given.key")
    const open = () => openSigningKey({ dataDirectory: directory, file })
    await expect(open()).rejects.toMatchObject({ code: "settings.invalid" })
    await writeFile(file, "no key", { mode: 0o600 })
    await expect(open()).rejects.toMatchObject({ code: "settings.invalid" })
    await chmod(file, 0o644)
    await expect(open()).rejects.toMatchObject({ code: "settings.invalid" })
  })
})
