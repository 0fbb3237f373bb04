import { type RunningServer, startServer } from "@signalbox/server/serve"
import { readSettings } from "@signalbox/server/settings"
import { createEmptyDatabase } from "@signalbox/testkit/test-database"
import type { Connection } from "@signalbox/server/storage/database"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test, vi } from "vitest"
import { cli as runCommand, TestIo, type TestIoOptions } from "./test-io.fixture.ts"
import { runCli } from "./run-cli.ts"
import {
  startOidcFixture,
  oidcClientId,
  type OidcFixture,
} from "@signalbox/server/services/identity/oidc-provider.fixture"

/** People at the command line: a real server, a real identity provider. */
let directory: string
let server: RunningServer
let drop: () => Promise<void>
let oidc: OidcFixture
let environment: Record<string, string>

const cli = (words: readonly string[], options: TestIoOptions = {}) =>
  runCommand(words, { ...options, environment: { ...environment, ...options.environment } })

const jsonOf = async (words: readonly string[], options: TestIoOptions = {}) => {
  const result = await cli([...words, "--json"], options)
  expect(result).toMatchObject({ code: 0 })
  return JSON.parse(result.stdout)
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox people "))
  const database = await createEmptyDatabase()
  drop = () => database.drop()
  const flags = {
    data: directory,
    port: 0,
    "log-level": "silent",
    "database-url": urlOf(database.connection),
    "egress-allow": "127.0.0.1",
  }
  server = await startServer(readSettings({ flags, variables: {} }))
  oidc = await startOidcFixture()
  environment = { XDG_CONFIG_HOME: join(directory, "config"), SIGNALBOX_DATA: directory }
  expect(await cli(["login", "--local"])).toMatchObject({ code: 0, stderr: "" })
})

afterAll(async () => {
  await oidc.stop()
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

const password = "correct horse battery"

test("X1: the first administrator makes a user, who logs in by a code, looks around and logs out", async () => {
  const made = await jsonOf(["users", "create", "ann", "--role", "admin", "--team", "sre", "--display-name", "Ann Lee"])
  expect(made).toMatchObject({ name: "ann", roles: ["admin"] })
  const remote = ["login", "--server", server.url, "--ca-fingerprint", server.caFingerprint ?? ""]
  const login = await cli([...remote, "--user", "ann", "--code", made.code, "--password-file", "-"], {
    stdin: `${password}\n`,
  })
  expect(login).toMatchObject({ code: 0, stderr: "" })
  expect(login.stdout).toContain(`as ann (${made.id}) of main (member, admin)`)
  const config = await readFile(join(directory, "config", "signalbox", "config.json"), "utf8")
  expect(config).not.toContain(password)
  expect(await jsonOf(["whoami"])).toMatchObject({ principal: made.id, name: "ann", kind: "user", teams: ["sre"] })
  const sessions = await jsonOf(["sessions"])
  expect(sessions.items).toMatchObject([{ name: "ann", current: true }])
  expect((await cli(["users", "list"])).stdout).toContain("Ann Lee")
  const [{ key }] = Object.values(JSON.parse(config).contexts as Record<string, { key: string }>).filter(({ key }) =>
    key.includes("_uss"),
  ) as [{ key: string }]
  expect(await cli(["logout"])).toMatchObject({ code: 0, stderr: "" })
  const after = await cli(["whoami", "--server", server.url, "--key", key, "--ca-file", await caFile()])
  expect(after.stderr).toContain("[identity.invalid-credentials]")
})

async function caFile(): Promise<string> {
  const path = join(directory, "ca of server.pem")
  await writeFile(path, server.caPem ?? "")
  return path
}

test("X1: a user changes their password; wrong passwords and wrong uses are refused", async () => {
  const local = ["login", "--local", "--user", "ann", "--password-file", "-"]
  expect((await cli(local, { stdin: "a wrong password" })).stderr).toContain("[identity.login-refused]")
  expect((await cli(["login", "--local", "--user", "ann"])).stderr).toContain("give the password in a file")
  for (const wrong of [
    ["--user", "a", "--oidc", "b"],
    ["--code", "x"],
    ["--account", "main"],
  ])
    expect((await cli(["login", "--local", ...wrong])).code, wrong.join(" ")).toBe(2)
  expect(await cli(local, { stdin: password })).toMatchObject({ code: 0 })
  const [current, next] = [join(directory, "current password"), join(directory, "next password")]
  await writeFile(current, `${password}\n`)
  await writeFile(next, "a next good password\n")
  const changed = await cli(["change-password", "--current-file", current, "--new-file", next])
  expect(changed).toMatchObject({ code: 0 })
  expect((await cli(local, { stdin: password })).code).toBe(4)
  expect((await cli(local, { stdin: "a next good password" })).code).toBe(0)
  expect(await cli(["logout", "ann@local"])).toMatchObject({ code: 0 })
  expect(await cli(["contexts", "use", "local"])).toMatchObject({ code: 0 })
})

const provider = () => `kind: IdentityProvider
name: corporate
issuer: ${oidc.issuer}
clientId: ${oidcClientId}
clientSecret: oidc-client
scopes: [openid, profile, email, groups]
admit: in-mapped-group
groups:
  - group: engineers
    roles: [operator]
    teams: [sre]
`

test("X1: an identity provider is a document; a person logs in by it in a browser, here or elsewhere", async () => {
  const secret = join(directory, "client secret")
  await writeFile(secret, oidc.clientSecret)
  expect(await cli(["secrets", "put", "oidc-client", "-f", secret])).toMatchObject({ code: 0 })
  const applied = await cli(["apply", "-f", "-"], { stdin: provider() })
  expect(applied.stdout).toBe("identity provider corporate created (version 1)\n")
  expect((await cli(["apply", "-f", "-"], { stdin: provider() })).stdout).toContain("unchanged")
  expect((await cli(["diff", "-f", "-"], { stdin: provider() })).code).toBe(0)
  oidc.person = { sub: "1", preferred_username: "ada", groups: ["engineers"], name: "Ada" }

  const here = await browsing((url) => oidc.browse(url).then((callback) => fetch(callback)))
  expect(here).toMatchObject({ code: 0 })
  expect(JSON.parse(here.stdout)).toMatchObject({
    name: "ada@local",
    user: "ada",
    roles: ["member", "operator"],
    teams: ["sre"],
  })
  expect((await jsonOf(["whoami"])).name).toBe("ada")
  const out = await cli(["logout"])
  expect(out.stderr).toContain("to log out of the identity provider too")
  expect(await cli(["contexts", "use", "local"])).toMatchObject({ code: 0 })
})

test("X1: the address that a browser elsewhere can't reach is pasted", async () => {
  const { PassThrough } = await import("node:stream")
  const stdin = new PassThrough()
  const pasted = await browsing(async (url) => {
    const callback = await oidc.browse(url)
    stdin.write(`not an address\n${callback.replace(/state=[^&]*/, "state=another")}\n${callback}\n`)
  }, stdin)
  expect(pasted).toMatchObject({ code: 0 })
  expect(await cli(["logout"])).toMatchObject({ code: 0 })
})

/** Logs in by a browser that does what a person would do with the address that is shown. */
async function browsing(
  open: (url: string) => Promise<unknown>,
  stdin?: TestIo["stdin"],
): Promise<{ code: number; stdout: string; stderr: string }> {
  const io = new TestIo({ environment })
  if (stdin) Object.assign(io, { stdin })
  const done = runCli(["login", "--local", "--oidc", "corporate", "--json"], io, "0.0.0-test")
  const address = await vi.waitFor(
    () => {
      const [, found] = /\n {2}(http\S+)\n/.exec(io.errors) ?? []
      if (!found) throw new Error(`no address yet: ${io.errors}`)
      return found
    },
    { timeout: 30_000 },
  )
  await open(address)
  return { code: await done, stdout: io.output, stderr: io.errors }
}
