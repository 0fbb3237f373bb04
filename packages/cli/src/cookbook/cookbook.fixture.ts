import { spawnSync } from "node:child_process"
import { accessSync, constants, readFileSync } from "node:fs"
import { mkdir, writeFile } from "node:fs/promises"
import { createServer, type AddressInfo } from "node:net"
import { delimiter, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { executionsGet } from "@signalbox/contracts/workflows/operations"
import type { OutputOf } from "@signalbox/contracts/operation"
import type { TestInstallation } from "../resilience/processes.fixture.ts"

/** What the tests of the cookbook share: its example files, services of nodes as real processes, and programs. */
const examples = fileURLToPath(new URL("../../../../examples/cookbook/", import.meta.url))
const runSeconds = 120
/** Where a system keeps what only its administrator runs, whatever the search path says. */
const administratorPaths = ["/usr/sbin", "/usr/local/sbin", "/sbin"] as const

export function readExample(name: string, file: string): string {
  return readFileSync(join(examples, name, file), "utf8")
}

/** Fails where the example no longer has what the test puts its own in place of. */
export function replaceIn(text: string, replacements: Readonly<Record<string, string>>): string {
  return Object.entries(replacements).reduce((changed, [from, to]) => {
    if (!changed.includes(from)) throw new Error(`the example has no "${from}"`)
    return changed.replaceAll(from, to)
  }, text)
}

/**
 * The path of a program that no package of this project brings. Where it is missing a person's run does without the
 * test, and says which package of Debian has it; `.ci/run` installs it (`.ci/packages`), and then it has to be there.
 */
export function findSystemProgram(name: string, debianPackage: string): string | undefined {
  for (const directory of [...(process.env["PATH"] ?? "").split(delimiter), ...administratorPaths]) {
    const path = join(directory, name)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // Not here.
    }
  }
  const missing = `${name} is missing: install the Debian package ${debianPackage}`
  if (process.env["SIGNALBOX_TEST_PROGRAMS"] === "required") throw new Error(missing)
  process.stderr.write(`${missing}; what needs it is left out\n`)
  return undefined
}

export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer()
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      return server
    }),
  )
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))))
  return ports
}

/**
 * A service of a node, as a script of /etc/init.d over a real process that is a daemon: `stop` kills it as it stands,
 * `reload` sends it SIGHUP, waits until it says that it has loaded, and shows the end of its log.
 */
export async function installService(root: string, name: string, program: string): Promise<void> {
  const script = join(root, "etc/init.d", name)
  await mkdir(dirname(script), { recursive: true })
  await mkdir(join(root, "run"), { recursive: true })
  await writeFile(join(root, `${name}.mjs`), program)
  await writeFile(script, serviceScript(root, name), { mode: 0o755 })
}

export function startService(root: string, name: string): void {
  const script = join(root, "etc/init.d", name)
  const environment = { PATH: process.env["PATH"], SIGNALBOX_ROOT: root }
  const { status, stderr } = spawnSync(script, ["start"], { env: environment, encoding: "utf8" })
  if (status !== 0) throw new Error(`${script} start ended with ${status}: ${stderr}`)
}

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

function serviceScript(root: string, name: string): string {
  return `#!/bin/sh
cd ${quote(root)} || exit 1
running() { [ -s run/${name}.pid ] && kill -0 "$(cat run/${name}.pid)" 2>/dev/null; }
until_loaded() {
  tries=0
  while [ ! -e run/${name}.loaded ]; do
    tries=$((tries + 1))
    [ "$tries" -gt 600 ] && { echo "${name} does not load: $(tail -n 1 run/${name}.log)" >&2; exit 1; }
    sleep 0.1
  done
}
start() {
  rm -f run/${name}.loaded
  setsid ${quote(process.execPath)} ${name}.mjs > run/${name}.log 2>&1 < /dev/null &
  echo $! > run/${name}.pid
  until_loaded
}
stop() { running && kill -9 "$(cat run/${name}.pid)"; rm -f run/${name}.pid; }
case "$1" in
  status) running ;;
  start) running || start ;;
  stop) stop ;;
  restart) stop; start ;;
  reload) rm -f run/${name}.loaded; kill -HUP "$(cat run/${name}.pid)"; until_loaded; tail -n 40 run/${name}.log ;;
  *) exit 2 ;;
esac
`
}

export type Execution = OutputOf<typeof executionsGet>

/** Starts a run by the command line, as a reader of the cookbook would; resolves to its id. */
export async function runByCommand(installation: TestInstallation, words: readonly string[]): Promise<string> {
  const text = await installation.succeed(["run", ...words, "--json"])
  return (JSON.parse(text) as { id: string }).id
}

export async function untilEnded(installation: TestInstallation, id: string): Promise<Execution> {
  const ended = async () => {
    const execution = await installation.client.call(executionsGet, { execution: id })
    return execution.finishedAt !== undefined && execution
  }
  return await installation.eventually(`${id} to end`, ended, runSeconds * 1000)
}
