import { type ChildProcess, spawn } from "node:child_process"
import { chmod, mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises"
import { createServer, type AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { enrollmentKeysCreate, nodesList } from "@signalbox/contracts/fleet/operations"
import { createClient, type Client } from "@signalbox/sdk/client"

/**
 * A whole installation of real processes of the compiled command, in a folder of its own: a server with its private
 * database, agents with roots of their own, and the command line. Any of them can be killed and started again.
 * `remove` ends all of it, whatever a test left.
 */
const ownProgram = fileURLToPath(new URL("../../bin/signalbox.js", import.meta.url))
const waits = {
  pollMilliseconds: 20,
  defaultMilliseconds: 30_000,
  /** Agents that found no server for a while wait half a minute between attempts. */
  onlineMilliseconds: 60_000,
  /** Two hundred agents at once are what a server that comes back finds first. */
  answerMilliseconds: 180_000,
  endMilliseconds: 15_000,
  logTailLength: 4_000,
} as const

export class TestProcess {
  readonly child: ChildProcess
  readonly #name: string
  #log = ""

  constructor(
    name: string,
    words: readonly string[],
    options: { program: string; directory: string; environment: NodeJS.ProcessEnv },
  ) {
    this.#name = name
    this.child = spawn(process.execPath, [options.program, ...words], {
      cwd: options.directory,
      env: options.environment,
      stdio: ["ignore", "ignore", "pipe"],
    })
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#log = (this.#log + text).slice(-waits.logTailLength)
    })
  }

  get isRunning(): boolean {
    return this.child.pid !== undefined && this.child.exitCode === null && this.child.signalCode === null
  }

  /** The end of what it wrote on standard error. */
  get log(): string {
    return `${this.#name}${this.isRunning ? "" : " (ended)"}: ${this.#log}`
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    if (!this.isRunning) return
    const ended = new Promise<void>((resolve) => this.child.once("exit", () => resolve()))
    this.child.kill(signal)
    const late = delay(waits.endMilliseconds, "late", { ref: false })
    if ((await Promise.race([ended, late])) === "late") {
      this.child.kill("SIGKILL")
      throw new Error(`${this.log}\ndid not end by ${signal} within ${waits.endMilliseconds} ms`)
    }
  }

  /** Resident memory in bytes, as Linux counts it. */
  async residentBytes(): Promise<number> {
    const status = await readFile(`/proc/${this.child.pid}/status`, "utf8")
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) * 1024
  }
}

export interface TestNode {
  readonly name: string
  readonly root: string
  readonly agentDirectory: string
  /** Of its local policy, where it has one. */
  readonly policyFile?: string
  agent: TestProcess
}

/** A process that runs many nodes. */
export interface TestHost {
  readonly prefix: string
  readonly names: readonly string[]
  readonly nodesDirectory: string
  process: TestProcess
}

export interface CommandResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Admin {
  readonly url: string
  readonly key: string
  readonly caPem?: string
  readonly caFingerprint?: string
}

export class TestInstallation {
  readonly directory: string
  readonly port: number
  readonly nodes = new Map<string, TestNode>()
  /** Where the server that runs keeps its data. */
  data: string
  #server: TestProcess | undefined
  #client: Client | undefined
  #started: TestProcess[] = []

  readonly #program: string

  private constructor(directory: string, options: { port: number; program: string }) {
    this.directory = directory
    this.port = options.port
    this.#program = options.program
    this.data = join(directory, "server data")
  }

  /** The program is that of another version where one is given. */
  static async create(program = ownProgram): Promise<TestInstallation> {
    const directory = await mkdtemp(join(tmpdir(), "signalbox resilience "))
    // PostgreSQL runs as another user when this one is root, and has to pass through.
    await chmod(directory, 0o711)
    return new TestInstallation(directory, { port: await freePort(), program })
  }

  get client(): Client {
    if (!this.#client) throw new Error("no server was started")
    return this.#client
  }

  get server(): TestProcess {
    if (!this.#server) throw new Error("no server was started")
    return this.#server
  }

  /** Starts the server on `data` and resolves when it answers the administrator. */
  async startServer(options: { words?: readonly string[]; variables?: NodeJS.ProcessEnv } = {}): Promise<void> {
    const words = ["serve", "--data", this.data, "--port", String(this.port), "--log-level", "info"]
    const server = this.#start("server", [...words, ...(options.words ?? [])], options.variables)
    this.#server = server
    await this.#client?.close()
    this.#client = undefined
    await this.eventually(
      "the server to answer",
      async () => {
        if (!server.isRunning) throw new Error(`the server ended early: ${server.log}`)
        const admin = await this.admin().catch(() => undefined)
        if (!admin) return false
        const { url, key, caPem } = admin
        const client = createClient({ url, key, ...(caPem === undefined ? {} : { caPem }) })
        const answered = await client.call(nodesList, {}).then(
          () => true,
          () => false,
        )
        if (answered) this.#client = client
        else await client.close()
        return answered
      },
      waits.answerMilliseconds,
    )
  }

  async admin(): Promise<Admin> {
    return JSON.parse(await readFile(join(this.data, "admin.json"), "utf8")) as Admin
  }

  /** Enrols nodes and starts their agents, with a local policy where one is given; resolves when all are online. */
  async addNodes(names: readonly string[], options: { readonly policyFile?: string } = {}): Promise<void> {
    const reply = await this.client.call(enrollmentKeysCreate, { usesMax: names.length, tags: { role: "web" } })
    if (reply.status === "held") throw new Error("held")
    const { url, caFingerprint } = await this.admin()
    const pinned = caFingerprint === undefined ? [] : ["--ca-fingerprint", caFingerprint]
    const { key } = reply.value
    for (const name of names) {
      const root = join(this.directory, name, "root")
      const agentDirectory = join(this.directory, name, "agent")
      await mkdir(root, { recursive: true })
      const words = ["--server", url, "--key", key, ...pinned, "--name", name, "--data", agentDirectory]
      const enrolled = await this.run(["agent", "enroll", ...words])
      if (enrolled.code !== 0) throw new Error(`${name} was not enrolled: ${enrolled.stderr}`)
      const place = { root, agentDirectory, ...options }
      this.nodes.set(name, { name, ...place, agent: this.#startAgent(name, place) })
    }
    await this.waitForNodes(names.length)
  }

  /**
   * Enrols nodes `PREFIX1`, `PREFIX2` and so on, and runs all of them in one process; resolves when they are online.
   * Their folders are `<directory>/<prefix>nodes/NAME/{agent,root}`.
   */
  async addHostedNodes(prefix: string, count: number, tags: Record<string, string> = {}): Promise<TestHost> {
    const reply = await this.client.call(enrollmentKeysCreate, { usesMax: count, tags: { role: "web", ...tags } })
    if (reply.status === "held") throw new Error("held")
    const { url, caFingerprint } = await this.admin()
    const pinned = caFingerprint === undefined ? [] : ["--ca-fingerprint", caFingerprint]
    const nodesDirectory = join(this.directory, `${prefix}nodes`)
    const many = ["--nodes", nodesDirectory, "--count", String(count), "--name-prefix", prefix]
    await this.succeed(["agent", "enroll", "--server", url, "--key", reply.value.key, ...pinned, ...many])
    const names = Array.from({ length: count }, (_, index) => `${prefix}${index + 1}`)
    const host = { prefix, names, nodesDirectory, process: this.#startHost(prefix, nodesDirectory) }
    await this.eventually(
      `the nodes ${prefix}… to be online`,
      async () => (await this.#onlineNames()).filter((name) => names.includes(name)).length === count,
      waits.onlineMilliseconds,
    )
    return host
  }

  /** Starts a host's process again, after it was killed. */
  restartHost(host: TestHost): void {
    host.process = this.#startHost(host.prefix, host.nodesDirectory)
  }

  async #onlineNames(): Promise<string[]> {
    const names: string[] = []
    for await (const { items } of this.client.pages(nodesList, { state: "online" })) {
      names.push(...items.map(({ name }) => name))
    }
    return names
  }

  #startHost(prefix: string, nodesDirectory: string): TestProcess {
    return this.#start(`host of ${prefix}`, ["agent", "host", "--nodes", nodesDirectory])
  }

  node(name: string): TestNode {
    const node = this.nodes.get(name)
    if (!node) throw new Error(`there is no node ${name}`)
    return node
  }

  /** Starts the agent of a node that was enrolled elsewhere. */
  adoptNode(name: string, directories: Pick<TestNode, "root" | "agentDirectory">): void {
    this.nodes.set(name, { name, ...directories, agent: this.#startAgent(name, directories) })
  }

  /** Starts a node's agent again, after it was killed. */
  restartAgent(name: string): void {
    const node = this.node(name)
    node.agent = this.#startAgent(name, node)
  }

  async waitForNodes(count: number): Promise<void> {
    const areOnline = async () => {
      const { items } = await this.client.call(nodesList, { state: "online" })
      return items.length === count
    }
    await this.eventually(`${count} nodes to be online`, areOnline, waits.onlineMilliseconds)
  }

  /** Runs the command line to its end, as the administrator on this machine. */
  async run(words: readonly string[], variables: NodeJS.ProcessEnv = {}): Promise<CommandResult> {
    const child = spawn(process.execPath, [this.#program, ...words], {
      cwd: this.directory,
      env: { ...this.#environment(), ...variables },
      stdio: ["ignore", "pipe", "pipe"],
    })
    let [stdout, stderr] = ["", ""]
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text))
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text))
    const code = await new Promise<number | null>((resolve) => child.once("close", resolve))
    return { code, stdout, stderr }
  }

  /** As `run`, for a command that must work. */
  async succeed(words: readonly string[], variables: NodeJS.ProcessEnv = {}): Promise<string> {
    const result = await this.run(words, variables)
    if (result.code !== 0) throw new Error(`signalbox ${words.join(" ")} ended with ${result.code}: ${result.stderr}`)
    return result.stdout
  }

  /** Waits until the check gives something true, and gives that; in the end fails with what the processes said. */
  async eventually<T>(
    what: string,
    check: () => Promise<T | false | undefined>,
    timeoutMilliseconds: number = waits.defaultMilliseconds,
  ): Promise<T> {
    const deadline = performance.now() + timeoutMilliseconds
    while (performance.now() < deadline) {
      const found = await check()
      if (found !== false && found !== undefined) return found
      await delay(waits.pollMilliseconds)
    }
    const logs = this.#started.map(({ log }) => log).join("\n")
    throw new Error(`waited ${timeoutMilliseconds} ms for ${what}\n${logs}`)
  }

  /** With `keepFiles` the folder stays, for a person to look at. */
  async remove({ keepFiles = false } = {}): Promise<void> {
    await this.#client?.close()
    const server = this.#server
    const results = await Promise.allSettled(
      this.#started.filter((one) => one !== server).map((one) => one.end("SIGTERM")),
    )
    results.push(...(await Promise.allSettled([server?.end("SIGTERM")])))
    await this.#killSteps()
    const removed = () =>
      rm(this.directory, { recursive: true, force: true }).then(
        () => true,
        () => false,
      )
    if (!keepFiles) await this.eventually("the folder to be removed", removed)
    for (const result of results) if (result.status === "rejected") throw result.reason
  }

  /** What steps of killed agents left running; nothing else has its root in this folder. */
  async #killSteps(): Promise<void> {
    for (const processId of await findMarkedProcesses(`SIGNALBOX_ROOT=${this.directory}`)) {
      try {
        process.kill(processId, "SIGKILL")
      } catch {
        // It has just ended.
      }
    }
  }

  #startAgent(
    name: string,
    { root, agentDirectory, policyFile }: Pick<TestNode, "root" | "agentDirectory" | "policyFile">,
  ): TestProcess {
    const policy = policyFile === undefined ? [] : ["--policy", policyFile]
    return this.#start(`agent of ${name}`, ["agent", "run", "--root", root, "--data", agentDirectory, ...policy])
  }

  #start(name: string, words: readonly string[], variables: NodeJS.ProcessEnv = {}): TestProcess {
    const environment = { ...this.#environment(), ...variables }
    const started = new TestProcess(name, words, { program: this.#program, directory: this.directory, environment })
    this.#started.push(started)
    return started
  }

  /** Nothing of the user's own settings, logins, proxies or database. */
  #environment(): NodeJS.ProcessEnv {
    const kept = ["PATH", "LANG", "LC_ALL", "USER", "LOGNAME", "TMPDIR", "TZ"]
    const home = join(this.directory, "home")
    return {
      ...Object.fromEntries(kept.map((name) => [name, process.env[name]])),
      HOME: home,
      XDG_CONFIG_HOME: home,
      XDG_DATA_HOME: home,
      NO_COLOR: "1",
      SIGNALBOX_DATA: this.data,
    }
  }
}

/** Processes that have this in their environment, where the system shows it: what an agent gives to its steps. */
export async function findMarkedProcesses(mark: string): Promise<number[]> {
  const found: number[] = []
  for (const name of await readdir("/proc").catch(() => [])) {
    if (!/^\d+$/.test(name)) continue
    const environment = await readFile(`/proc/${name}/environ`, "latin1").catch(() => "")
    if (environment.includes(mark)) found.push(Number(name))
  }
  return found
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once("error", reject)
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as AddressInfo
      probe.close(() => resolve(port))
    })
  })
}
