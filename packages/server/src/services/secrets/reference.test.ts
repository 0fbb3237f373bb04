import { spawnSync } from "node:child_process"
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { isAppError } from "@signalbox/kernel/app-error"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { readReference, type ReferencePolicy } from "./reference.ts"

let directory: string
let policy: ReferencePolicy

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox-references-"))
  await mkdir(join(directory, "data"))
  policy = {
    kinds: ["env", "file", "exec"],
    dataDirectory: join(directory, "data"),
    environment: { ...process.env, VAULT_TOKEN: "from the environment", SIGNALBOX_KEY: "own setting" },
  }
})
afterAll(() => rm(directory, { recursive: true }))

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(directory, name)
  await writeFile(path, content)
  return path
}

async function refusal(reference: string, given: Partial<ReferencePolicy> = {}): Promise<string> {
  try {
    await readReference(reference, { ...policy, ...given })
    return "read"
  } catch (error) {
    return isAppError(error) ? `${error.code}: ${error.message}` : String(error)
  }
}

describe("X5: references to secrets of the server's machine", () => {
  it("read a variable, a file and a program's output, without the newline at the end", async () => {
    expect(await readReference("env:VAULT_TOKEN", policy)).toBe("from the environment")
    expect(await readReference(`file:${await file("with spaces", "in a file\n")}`, policy)).toBe("in a file")
    const program = await file("program", '#!/bin/sh\necho "$1-$2"\n')
    await chmod(program, 0o755)
    expect(await readReference(`exec:${program} one two`, policy)).toBe("one-two")
  })

  it("read only the kinds that the settings list", async () => {
    expect(await refusal("env:VAULT_TOKEN", { kinds: ["file"] })).toContain("secrets.reference-refused")
    expect(await refusal("file:/etc/hostname", { kinds: ["env"] })).toContain("secrets.reference-refused")
    expect(await refusal("exec:/bin/true", { kinds: [] })).toContain("secrets.reference-refused")
  })

  it("never read the server's own settings and keys, not even by a link", async () => {
    await file("data/master.key", "the master key")
    await symlink(join(directory, "data", "master.key"), join(directory, "link"))
    expect(await refusal("env:SIGNALBOX_KEY")).toContain("secrets.reference-refused")
    for (const name of ["DATABASE_URL", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY"])
      expect(await refusal(`env:${name}`)).toContain("secrets.reference-refused")
    expect(await refusal(`file:${directory}/data/master.key`)).toContain("secrets.reference-refused")
    expect(await refusal(`file:${directory}/link`)).toContain("secrets.reference-refused")
    const elsewhere = await file("elsewhere.key", "the master key")
    await symlink(elsewhere, join(directory, "link elsewhere"))
    const own = { ownFiles: [elsewhere, join(directory, "not there")] }
    expect(await refusal(`file:${elsewhere}`, own)).toContain("secrets.reference-refused")
    expect(await refusal(`file:${directory}/link elsewhere`, own)).toContain("secrets.reference-refused")
    expect(await readReference(`file:${await file("another", "may be read")}`, { ...policy, ...own })).toBe(
      "may be read",
    )
  })

  it("give a program nothing of the server's environment but where programs are", async () => {
    const program = await file("environment", '#!/bin/sh\necho "names: $VAULT_TOKEN$SIGNALBOX_KEY."\n')
    await chmod(program, 0o755)
    expect(await readReference(`exec:${program}`, policy)).toBe("names: .")
  })

  it("say why a secret can't be read, and never what was in it", async () => {
    const unreadable = "secrets.reference-unreadable"
    expect(await refusal("env:NOT_SET")).toContain(unreadable)
    expect(await refusal(`file:${directory}/none`)).toContain("ENOENT")
    expect(await refusal(`file:${directory}`)).toContain(unreadable)
    expect(await refusal(`file:${await file("short", "12345\n")}`)).not.toContain("12345")
    expect(await refusal(`file:${await file("long", Buffer.alloc(64 * 1024 + 1, "x"))}`)).toContain("more than")
    expect(await refusal("exec:/no/such/program")).toContain("ENOENT")
    const failing = await file("failing", "#!/bin/sh\necho 'a-secret-value'; echo 'a-secret-value' >&2; exit 3\n")
    await chmod(failing, 0o755)
    const message = await refusal(`exec:${failing}`)
    expect(message).toContain("ended with 3")
    expect(message).not.toContain("a-secret-value")
    const endless = await file("endless", "#!/bin/sh\nexec yes\n")
    await chmod(endless, 0o755)
    expect(await refusal(`exec:${endless}`)).toContain("more than")
  })

  it("don't wait at a pipe that nobody writes to", async () => {
    const pipe = join(directory, "pipe")
    expect(spawnSync("mkfifo", [pipe]).status).toBe(0)
    expect(await refusal(`file:${pipe}`)).toContain("no regular file")
  })
})
