import { execFile, spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { chmod, cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createServer, type AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { afterAll, beforeAll, expect, test } from "vitest"

/** What docs/how-to/put-your-service-behind-signalbox.md says, with the example as it stands, on ports that are free. */
const repository = fileURLToPath(new URL("../../../", import.meta.url))
const program = join(repository, "packages", "cli", "bin", "signalbox.js")

let workspace: string
let environment: NodeJS.ProcessEnv
const running: ChildProcess[] = []

beforeAll(async () => {
  workspace = await mkdtemp(join(tmpdir(), "signalbox greeter "))
  // PostgreSQL runs under another user when this is root, and has to pass through.
  await chmod(workspace, 0o755)
  await cp(join(repository, "examples", "greeter"), join(workspace, "greeter"), { recursive: true })
  environment = {
    ...process.env,
    HOME: workspace,
    XDG_CONFIG_HOME: join(workspace, "config"),
    SIGNALBOX_DATA: join(workspace, "data"),
    SIGNALBOX_LOG_LEVEL: "error",
  }
  delete environment["DATABASE_URL"]
})

afterAll(async () => {
  for (const child of running.toReversed()) {
    if (child.exitCode !== null) continue
    const ended = once(child, "exit")
    child.kill("SIGTERM")
    await ended
  }
  await rm(workspace, { recursive: true, force: true })
}, 120_000)

function start(script: string, ...args: string[]): void {
  running.push(spawn(process.execPath, [script, ...args], { env: environment, stdio: "ignore" }))
}

async function signalbox(...args: string[]): Promise<string> {
  return (await promisify(execFile)(process.execPath, [program, ...args], { env: environment })).stdout
}

async function freePort(): Promise<number> {
  const probe = createServer()
  probe.listen(0, "127.0.0.1")
  await once(probe, "listening")
  const { port } = probe.address() as AddressInfo
  probe.close()
  return port
}

test("the guide's example is registered, called, and refused to whom its file says", { timeout: 240_000 }, async () => {
  const [greeterPort, port] = [await freePort(), await freePort()]
  const path = join(workspace, "greeter", "service.yaml")
  await writeFile(path, (await readFile(path, "utf8")).replace("8080", String(greeterPort)))
  start(join(workspace, "greeter", "server.mjs"), String(greeterPort))
  start(program, "serve", "--insecure", "--port", String(port), "--egress-allow", `127.0.0.1:${greeterPort}`)
  const url = `http://127.0.0.1:${port}`
  const isReady = (): Promise<boolean> =>
    fetch(`${url}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    )
  await expect.poll(isReady, { timeout: 120_000 }).toBe(true)
  await signalbox("login", "--local")
  expect(await signalbox("apply", "-f", path)).toContain("greeter")
  expect(await signalbox("services", "check", "greeter")).toContain("healthy")
  expect(await signalbox("operations", "list")).toContain("ext.greeter.greet")
  const made = JSON.parse(await signalbox("keys", "create", "my-app", "--role", "consumer", "--json")) as {
    key: string
  }
  const headers = { authorization: `Bearer ${made.key}` }
  const greeted = (): Promise<unknown> =>
    fetch(`${url}/x/greeter/greetings/en?name=Ada`, { headers }).then((answer) => answer.json())
  await expect.poll(greeted, { timeout: 60_000 }).toEqual({ text: "Hello, Ada!" })
  const change = { method: "PUT", body: JSON.stringify({ greeting: "Hi" }) }
  const refused = await fetch(`${url}/x/greeter/greetings/en`, { ...change, headers })
  expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([403, "gateway.role-required"])
  expect(await signalbox("apply", "-f", path)).toContain("unchanged")
})
