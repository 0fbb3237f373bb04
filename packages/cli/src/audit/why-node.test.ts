import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { existsSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { startAgent, type RunningAgent } from "@signalbox/agent/agent"
import { enrollAgent } from "@signalbox/agent/enroll"
import { type RunningServer, startServer } from "@signalbox/server/serve"
import { readSettings } from "@signalbox/server/settings"
import type { Connection } from "@signalbox/server/storage/database"
import { createEmptyDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { cli as runCommand } from "../test-io.fixture.ts"

/** Who changed a package: a real agent with a package database of its own, that runs and people write to. */
let directory: string
let root: string
let server: RunningServer
let agent: RunningAgent | undefined
let drop: () => Promise<void>
let environment: Record<string, string>

const cli = (words: readonly string[]) => runCommand(words, { environment })
const hasDpkg = existsSync("/usr/bin/dpkg-query")
const waiting = { timeout: 30_000 }

interface Answer {
  readonly answer: string
  readonly present?: Array<{ version: string }>
  readonly findings: Array<{ kind: string; text: string; by?: string; task?: string; cause?: string; state?: string }>
}

const entry = (name: string, version: string) =>
  `Package: ${name}\nStatus: install ok installed\nVersion: ${version}\nArchitecture: all\nMaintainer: a <a@b>\nDescription: d\n\n`

async function why(...words: string[]): Promise<Answer> {
  const { code, stdout, stderr } = await cli(["why", ...words, "--json"])
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
  return JSON.parse(stdout) as Answer
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox why "))
  root = join(directory, "root")
  await mkdir(join(root, "var/lib/dpkg/info"), { recursive: true })
  await writeFile(join(root, "var/lib/dpkg/status"), entry("openssl", "3.0.1") + entry("curl", "8.0"))
  const database = await createEmptyDatabase()
  drop = () => database.drop()
  const flags = { data: directory, port: 0, "log-level": "silent", "database-url": urlOf(database.connection) }
  server = await startServer(readSettings({ flags, variables: {} }))
  environment = { XDG_CONFIG_HOME: join(directory, "config"), SIGNALBOX_DATA: directory }
  expect(await cli(["login", "--local"])).toMatchObject({ code: 0, stderr: "" })
  const made = await cli(["enrollment-keys", "create", "--json"])
  const { key, caFingerprint } = JSON.parse(made.stdout) as { key: string; caFingerprint: string }
  const dataDirectory = join(directory, "agent")
  await enrollAgent({ serverUrl: server.url, key, caFingerprint, name: "web-3", dataDirectory })
  agent = await startAgent({ dataDirectory, root })
  const reported = async () => expect((await cli(["nodes", "inventory", "web-3"])).stdout).toContain("openssl  3.0.1")
  await vi.waitFor(reported, waiting)
})
afterAll(async () => {
  await agent?.stop()
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

/** What an upgrade leaves behind: the database and the package's file list. */
const upgrade = (version: string) =>
  `printf '%b' '${(entry("openssl", version) + entry("curl", "8.1")).replaceAll("\n", "\\n")}' > var/lib/dpkg/status; : > var/lib/dpkg/info/openssl.list`

describe("X4: why by question", () => {
  test("a package that was upgraded by hand was not changed by Signalbox", async () => {
    if (!hasDpkg) return
    await writeFile(join(root, "var/lib/dpkg/status"), entry("openssl", "3.0.1") + entry("curl", "8.1"))
    // An agent looks at its packages when it starts.
    await agent?.stop()
    agent = await startAgent({ dataDirectory: join(directory, "agent"), root })
    await vi.waitFor(async () => {
      const { answer, findings } = await why("node", "web-3", "package", "curl")
      expect(findings).toMatchObject([{ kind: "outside", fromVersion: "8.0", toVersion: "8.1", approvals: [] }])
      expect(answer).toMatch(/^curl on web-3: 8\.0 became 8\.1, not by Signalbox, seen at 20\S+Z$/)
    }, waiting)
  })

  test("who changed a node: the runs that touched it, the newest first", async () => {
    expect((await why("node", "web-3")).answer).toBe("no run has touched web-3")
    expect((await cli(["exec", "-n", "web-3", "--", "true"])).code).toBe(0)
    expect((await cli(["exec", "-n", "web-3", "--", "false"])).code).toBe(1)
    const { findings } = await why("node", "web-3")
    expect(findings.map(({ state }) => state)).toEqual(["failed", "succeeded"])
    expect(findings[0]).toMatchObject({ kind: "run", by: expect.stringMatching(/^key:/) as string, approvals: [] })
    const told = await cli(["why", "node", "web-3"])
    expect(told.stdout).toContain(`The whole story: signalbox why ${findings[0]?.cause}`)
    expect((await cli(["why", findings[0]?.cause ?? ""])).code).toBe(0)
  })

  test("who changed a package: the run that did; of what no run did, that it was not by Signalbox", async () => {
    if (!hasDpkg) return
    const first = await why("node", "web-3", "package", "openssl")
    expect(first).toMatchObject({ present: [{ version: "3.0.1" }], findings: [] })
    expect(first.answer).toMatch(/^openssl 3\.0\.1 on web-3: not by Signalbox, seen at 20/)
    expect((await why("node", "web-3", "package", "nginx")).answer).toContain("nginx is not on web-3")

    expect((await cli(["exec", "-n", "web-3", "--shell", upgrade("3.0.2")])).code).toBe(0)
    await vi.waitFor(async () => {
      const { answer, findings } = await why("node", "web-3", "package", "openssl")
      expect(findings).toMatchObject([{ kind: "run", fromVersion: "3.0.1", toVersion: "3.0.2", state: "succeeded" }])
      expect(answer).toMatch(/^openssl on web-3: 3\.0\.1 became 3\.0\.2; key:\S+ ran .* here: succeeded/)
      expect(findings[0]?.task).toMatch(/^tsk_/)
    }, waiting)
  })

  test("a node or a question that nobody knows is a clear refusal", async () => {
    expect(await cli(["why", "node", "web-9"])).toMatchObject({ code: 5 })
    expect(await cli(["why", "package", "openssl"])).toMatchObject({ code: 2 })
    expect(await cli(["why", "node", "web-3", "package"])).toMatchObject({ code: 2 })
  })
})
