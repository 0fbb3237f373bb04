/**
 * Web nodes as this machine has them: for each instance a folder with a root, an agent and a web service in it. All of it
 * is found again by the folder's name, in the processes' own command lines, so nothing is lost with the provisioner, and
 * doing anything here twice comes to the same.
 */
import { spawn, spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { chmod, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"

const stopTriesMax = 100
const stopPollMilliseconds = 100

/** What agents and services get of the provisioner's environment: not its key. */
const { PATH, HOME, LANG } = process.env
const environment = { PATH, HOME, LANG }

export interface Enrollment {
  readonly key: string
  readonly serverUrl: string
  readonly caFingerprint?: string | undefined
}

export class WebMachine {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  /** The instances that have a folder here. */
  async list(): Promise<string[]> {
    await mkdir(this.#directory, { recursive: true })
    return (await readdir(this.#directory)).filter((name) => name.startsWith("ins_"))
  }

  isEnrolled(instance: string): boolean {
    return existsSync(join(this.#agent(instance), "identity.json"))
  }

  /** Enrols the instance's agent; a repeat finishes what was begun. `makeKey` is asked for a key where none is kept. */
  async enroll(instance: string, name: string, makeKey: () => Promise<Enrollment>): Promise<void> {
    if (this.isEnrolled(instance)) return
    await mkdir(join(this.#directory, instance, "root"), { recursive: true })
    const kept = join(this.#directory, instance, "enrollment.json")
    if (!existsSync(kept)) await writeFile(kept, JSON.stringify(await makeKey()), { mode: 0o600 })
    const { key, serverUrl, caFingerprint } = JSON.parse(await readFile(kept, "utf8")) as Enrollment
    const pinned = caFingerprint === undefined ? [] : ["--ca-fingerprint", caFingerprint]
    const words = ["--server", serverUrl, ...pinned, "--name", name, "--data", this.#agent(instance)]
    const { status, stderr } = spawnSync("signalbox", ["agent", "enroll", ...words], {
      env: { ...environment, SIGNALBOX_ENROLLMENT_KEY: key },
      encoding: "utf8",
    })
    // What an earlier provisioner began may end in this moment.
    if (status !== 0 && !this.isEnrolled(instance)) throw new Error(stderr.trim())
    await rm(kept, { force: true })
  }

  /** Starts the agent and the web service, unless they run. */
  async start(instance: string): Promise<void> {
    const agent = this.#agent(instance)
    if ((await findProcesses(agent)).length === 0)
      spawn("signalbox", ["agent", "run", "--root", this.#root(instance), "--data", agent], {
        stdio: "ignore",
        detached: true,
        env: environment,
      }).unref()
    this.#service(instance, "start")
  }

  /** What the web service says, and where. */
  async publish(instance: string, web: { readonly port: number; readonly page: string }): Promise<void> {
    const root = this.#root(instance)
    const script = join(root, "etc/init.d/web")
    await mkdir(join(root, "etc/init.d"), { recursive: true })
    await writeFile(join(root, "web.json"), JSON.stringify(web))
    await writeFile(join(root, "web.mjs"), webProgram)
    await writeFile(script, serviceScript(root))
    await chmod(script, 0o755)
  }

  restart(instance: string): void {
    this.#service(instance, "restart")
  }

  /** Stops whatever runs of the instance, and removes its folder. */
  async remove(instance: string): Promise<void> {
    const directory = join(this.#directory, instance)
    for (let tries = 0; tries < stopTriesMax; tries++) {
      const found = await findProcesses(directory)
      for (const id of found) kill(id, tries < stopTriesMax / 2 ? "SIGTERM" : "SIGKILL")
      if (found.length === 0) break
      await delay(stopPollMilliseconds)
    }
    await rm(directory, { recursive: true, force: true })
  }

  #service(instance: string, verb: "start" | "restart"): void {
    const { status, stderr } = spawnSync(join(this.#root(instance), "etc/init.d/web"), [verb], {
      env: environment,
      encoding: "utf8",
    })
    if (status !== 0) throw new Error(`the web service of ${instance} does not ${verb}: ${stderr}`)
  }

  #agent(instance: string): string {
    return join(this.#directory, instance, "agent")
  }

  #root(instance: string): string {
    return join(this.#directory, instance, "root")
  }
}

/** Processes that have this path in their command line, but for this one. */
async function findProcesses(path: string): Promise<number[]> {
  const found: number[] = []
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue
    const words = (await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "")).split("\0")
    if (words.some((word) => word === path || word.startsWith(`${path}/`))) found.push(Number(name))
  }
  return found
}

function kill(processId: number, signal: NodeJS.Signals): void {
  try {
    process.kill(processId, signal)
  } catch {
    // It has just ended.
  }
}

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

const serviceScript = (root: string): string => `#!/bin/sh
cd ${quote(root)} || exit 1
running() { [ -s web.pid ] && kill -0 "$(cat web.pid)" 2>/dev/null; }
start() { setsid ${quote(process.execPath)} ${quote(join(root, "web.mjs"))} > web.log 2>&1 < /dev/null & echo $! > web.pid; }
stop() { running && kill -9 "$(cat web.pid)"; rm -f web.pid; }
case "$1" in
  status) running ;;
  start) running || start ;;
  stop) stop ;;
  restart) stop; start ;;
  *) exit 2 ;;
esac
`

const webProgram = `import { readFileSync } from "node:fs"
import { createServer } from "node:http"

const { port, page } = JSON.parse(readFileSync("web.json", "utf8"))
const server = createServer((_request, response) => response.end(page + " from process " + process.pid + "\\n"))
// The process before may still hold the port for a moment.
server.on("error", () => setTimeout(() => server.listen(port, "127.0.0.1"), 100))
server.listen(port, "127.0.0.1")
`
