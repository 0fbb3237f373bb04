import { spawnSync } from "node:child_process"
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { connectDirect } from "@signalbox/server/storage/database"
import { createEmptyDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { urlOf } from "../resilience/connection-url.fixture.ts"
import { TestInstallation } from "../resilience/processes.fixture.ts"
import {
  findSystemProgram,
  freePorts,
  installService,
  readExample,
  runByCommand,
  startService,
  untilEnded,
} from "./cookbook.fixture.ts"

const example = "rotate-certificate"
const names = ["web-1", "web-2"] as const
const openssl = findSystemProgram("openssl", "openssl")

interface KeyPair {
  readonly certificatePath: string
  readonly keyPath: string
  readonly certificate: Buffer
  readonly key: Buffer
  readonly fingerprint: string
}

let installation: TestInstallation
let database: Awaited<ReturnType<typeof createEmptyDatabase>>
let ports: number[] = []
let [old, next, last]: KeyPair[] = []

/** Serves TLS; a reload reads both files again, unless the machine has a fault: then it goes on with the old ones. */
function tlsProgram(port: number): string {
  return `import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { createServer } from "node:https"
const read = () => ({ cert: readFileSync("etc/ssl/web/tls.crt"), key: readFileSync("etc/ssl/web/tls.key") })
const server = createServer(read(), (request, response) => response.end("ok"))
const loaded = () => writeFileSync("run/web.loaded", "")
server.listen(${port}, "127.0.0.1", loaded)
process.on("SIGHUP", () => {
  if (!existsSync("etc/faulty")) server.setSecureContext(read())
  // What a program that says too much would leave in logs.
  console.log(readFileSync("etc/ssl/web/tls.key", "utf8"))
  loaded()
})
`
}

describe.skipIf(!openssl)("the cookbook's rotation of a certificate", () => {
  beforeAll(async () => {
    installation = await TestInstallation.create()
    database = await createEmptyDatabase()
    await installation.startServer({ variables: { DATABASE_URL: urlOf(database.connection) } })
    ports = await freePorts(names.length)
    ;[old, next, last] = await Promise.all(["old", "next", "last"].map(makeKeyPair))
    await installation.addNodes(names)
    await installation.succeed(["login", "--local"])
    for (const [index, name] of names.entries()) {
      const { root } = installation.node(name)
      await mkdir(join(root, "etc/ssl/web"), { recursive: true })
      await writeFile(join(root, "etc/ssl/web/tls.crt"), pair(old).certificate, { mode: 0o640 })
      await writeFile(join(root, "etc/ssl/web/tls.key"), pair(old).key, { mode: 0o400 })
      await installService(root, "web", tlsProgram(ports[index] ?? 0))
      startService(root, "web")
      await installation.succeed(["nodes", "update", name, "--tag", `address=127.0.0.1:${ports[index]}`])
    }
    const file = join(installation.directory, "workflow.yaml")
    await writeFile(file, readExample(example, "workflow.yaml"))
    await installation.succeed(["apply", "-f", file])
  }, 240_000)
  afterAll(async () => {
    await installation.remove()
    await database.drop()
  }, 120_000)

  test(
    "X5: every node serves the new certificate, and its key is nowhere but in its file",
    { timeout: 240_000 },
    async () => {
      const id = await rotate(pair(next))
      expect(await untilEnded(installation, id), await installation.succeed(["why", id])).toMatchObject({
        state: "succeeded",
        counts: { succeeded: names.length },
      })
      for (const [index, name] of names.entries()) {
        expect(servedFingerprint(ports[index] ?? 0), name).toBe(pair(next).fingerprint)
        expect(await filesOf(name)).toMatchObject({ key: pair(next).key.toString(), keyMode: 0o600 })
        const shown = await installation.succeed(["tasks", "get", id, name])
        expect(shown).toContain(`served: ${pair(next).fingerprint}`)
        // The service's log with the key in it was a step's output.
        expect(shown).toContain("***")
      }
      await expectNowhere(pair(next), id)
    },
  )

  test(
    "W6: where another one is served both files come back byte for byte, and the old one is served",
    {
      timeout: 240_000,
    },
    async () => {
      const faulty = "web-1"
      const { root } = installation.node(faulty)
      await writeFile(join(root, "etc/faulty"), "")
      const before = await filesOf(faulty)
      const id = await rotate(pair(last), ["-n", faulty])
      expect(await untilEnded(installation, id)).toMatchObject({
        state: "failed",
        counts: { failed: 1 },
        results: { rolledBack: 1 },
      })
      expect(await filesOf(faulty)).toEqual(before)
      expect(servedFingerprint(ports[0] ?? 0)).toBe(pair(next).fingerprint)
      await expectNowhere(pair(last), id)
    },
  )
})

function pair(made: KeyPair | undefined): KeyPair {
  if (!made) throw new Error("the certificates were not made")
  return made
}

async function rotate(
  { certificatePath, keyPath, fingerprint }: KeyPair,
  targets = ["-t", "role=web"],
): Promise<string> {
  await installation.succeed(["artifacts", "push", certificatePath, "--name", "web-tls-certificate"])
  await installation.succeed(["secrets", "put", "web-tls-key", "-f", keyPath])
  return await runByCommand(installation, [example, ...targets, "-p", `fingerprint=${fingerprint}`])
}

/** A self-signed certificate and its key, made by openssl. */
async function makeKeyPair(name: string): Promise<KeyPair> {
  const [keyPath, certificatePath] = [
    join(installation.directory, `${name}.key`),
    join(installation.directory, `${name}.crt`),
  ]
  const files = ["-keyout", keyPath, "-out", certificatePath]
  runOpenssl(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", `/CN=${name}.example`, "-days", "30", ...files])
  const said = runOpenssl(["x509", "-in", certificatePath, "-noout", "-fingerprint", "-sha256"])
  const [certificate, key] = await Promise.all([readFile(certificatePath), readFile(keyPath)])
  return { certificatePath, keyPath, certificate, key, fingerprint: said.trim().split("=")[1] ?? "" }
}

function servedFingerprint(port: number): string | undefined {
  const certificate = runOpenssl(["s_client", "-connect", `127.0.0.1:${port}`])
  return runOpenssl(["x509", "-noout", "-fingerprint", "-sha256"], certificate).trim().split("=")[1]
}

function runOpenssl(words: readonly string[], input = ""): string {
  const { status, stdout, stderr } = spawnSync(openssl ?? "", words, { input, encoding: "utf8" })
  if (status !== 0) throw new Error(`openssl ${words.join(" ")} ended with ${status}: ${stderr}`)
  return stdout
}

async function filesOf(name: string) {
  const directory = join(installation.node(name).root, "etc/ssl/web")
  const [certificatePath, keyPath] = [join(directory, "tls.crt"), join(directory, "tls.key")]
  const [certificate, key] = await Promise.all([readFile(certificatePath, "utf8"), readFile(keyPath, "utf8")])
  const modes = await Promise.all([certificatePath, keyPath].map(async (path) => (await stat(path)).mode & 0o777))
  return { certificate, key, certificateMode: modes[0], keyMode: modes[1] }
}

/**
 * That no line of a key is in what people are shown, in what the processes wrote, in the agents' directories (journal,
 * kept outputs, saved files), in the server's data directory or in any row of the database.
 */
async function expectNowhere({ key }: KeyPair, execution: string): Promise<void> {
  const lines = key
    .toString()
    .split("\n")
    .filter((line) => line.length >= 16 && !line.startsWith("-----"))
  expect(lines.length).toBeGreaterThan(10)
  const places = new Map<string, string>()
  for (const words of [
    ["executions", "get", execution],
    ["tasks", "list", execution],
    ["why", execution],
    ["events", "list"],
  ])
    places.set(words.join(" "), await installation.succeed([...words, "--json"]))
  for (const name of names) {
    const words = ["tasks", "get", execution, name, "--json"]
    places.set(words.join(" "), (await installation.run(words)).stdout)
    const { agent, agentDirectory } = installation.node(name)
    places.set(`the log of ${name}`, agent.log)
    for (const path of await filesBelow(agentDirectory)) places.set(path, await readFile(path, "latin1"))
  }
  places.set("the log of the server", installation.server.log)
  for (const path of await filesBelow(installation.data)) places.set(path, await readFile(path, "latin1"))
  for (const [table, text] of await dumpDatabase()) places.set(`table ${table}`, text)
  // What is there is found: the same search sees the execution in the database and in a journal.
  const known = [...places].filter(([place, text]) => place.includes(execution) || text.includes(execution))
  expect(known.map(([place]) => place)).toEqual(
    expect.arrayContaining([
      expect.stringMatching(/^table .*\bexecutions$/),
      expect.stringMatching(/^table .*\bexecution_tasks$/),
      expect.stringContaining(join("agent", "journal")),
    ]),
  )
  const found = [...places].filter(([, text]) => lines.some((line) => text.includes(line))).map(([place]) => place)
  expect(found).toEqual([])
}

async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true, recursive: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
}

/** Every row of every table as text, and bytes also as they stand. */
async function dumpDatabase(): Promise<Map<string, string>> {
  const client = await connectDirect(database.connection)
  try {
    const tables = await client.query<{ name: string }>(
      `select format('%I.%I', schemaname, tablename) as name from pg_tables
       where schemaname not in ('pg_catalog', 'information_schema')`,
    )
    const dump = new Map<string, string>()
    for (const { name } of tables.rows) {
      const { rows } = await client.query<Record<string, unknown>>(`select * from ${name}`)
      const cell = (value: unknown): string =>
        Buffer.isBuffer(value) ? value.toString("latin1") : typeof value === "string" ? value : JSON.stringify(value)
      dump.set(name, rows.map((row) => Object.values(row).map(cell).join("\n")).join("\n"))
    }
    return dump
  } finally {
    await client.end()
  }
}
