import { mkdir, readdir, stat } from "node:fs/promises"
import { join } from "node:path"
import { AppError } from "@signalbox/kernel/app-error"
import { type AgentOptions, type RunningAgent, startAgent } from "./agent.ts"
import { readIdentity } from "./agent-identity.ts"
import { agentRunLimits } from "./agent-limits.ts"
import { type AgentLogger, errorText, silentLogger } from "./agent-logger.ts"
import { hostedNode } from "./hosted-node.ts"

export interface HostOptions extends Omit<AgentOptions, "dataDirectory" | "root" | "logger"> {
  /** Holds a folder for each node: `NAME/agent` with its identity and journal, `NAME/root` as its root. */
  readonly nodesDirectory: string
  readonly logger?: AgentLogger
}

export interface RunningHost {
  /** Names of the nodes whose agents run now. */
  nodes(): string[]
  stop(): Promise<void>
}

/**
 * Runs the agents of all nodes below a folder in this process, each with its own identity, journal, lock and session.
 * One that can't start, or whose folder goes away, is no matter of the others; it is tried again with each scan, as new
 * folders are found. What ends the process ends all of them, as if each had been killed.
 *
 * @throws settings.invalid where the folder can't be read
 */
export async function startAgentHost(options: HostOptions): Promise<RunningHost> {
  const host = new AgentHost(options)
  await host.scan()
  host.startScanning({ ...agentRunLimits, ...options.limits }.hostScanIntervalMilliseconds)
  return { nodes: () => host.nodes(), stop: () => host.stop() }
}

/** Owns the running agents by their names. Invariant: one scan at a time, and none after `stop`. */
class AgentHost {
  readonly #options: HostOptions
  readonly #logger: AgentLogger
  readonly #running = new Map<string, RunningAgent>()
  /** Why a node doesn't run, as it was last said. */
  readonly #complaints = new Map<string, string>()
  #timer: NodeJS.Timeout | undefined
  #scanning: Promise<void> = Promise.resolve()
  #stopped = false

  constructor(options: HostOptions) {
    this.#options = options
    this.#logger = options.logger ?? silentLogger
  }

  nodes(): string[] {
    return [...this.#running.keys()].toSorted()
  }

  startScanning(intervalMilliseconds: number): void {
    this.#timer = setInterval(() => {
      this.#scanning = this.#scanning.then(() =>
        this.scan().catch((error: unknown) => this.#complain("", errorText(error))),
      )
    }, intervalMilliseconds)
  }

  async scan(): Promise<void> {
    if (this.#stopped) return
    const names = await this.#enrolledNames()
    const gone = [...this.#running.keys()].filter((name) => !names.includes(name))
    await Promise.all(gone.map((name) => this.#end(name)))
    for (const name of names) {
      if (!this.#stopped && !this.#running.has(name)) await this.#begin(name)
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearInterval(this.#timer)
    await this.#scanning
    await Promise.all([...this.#running.keys()].map((name) => this.#end(name)))
  }

  async #enrolledNames(): Promise<string[]> {
    const { nodesDirectory } = this.#options
    const entries = await readdir(nodesDirectory, { withFileTypes: true }).catch((cause: unknown) => {
      throw new AppError("settings.invalid", `the nodes' folder ${nodesDirectory} can't be read`, { cause })
    })
    const names: string[] = []
    for (const { name } of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      const identity = join(hostedNode(nodesDirectory, name).dataDirectory, "identity.json")
      if (await stat(identity).catch(() => undefined)) names.push(name)
    }
    const { hostedNodesMax } = agentRunLimits
    if (names.length > hostedNodesMax) {
      this.#complain("", `there are ${names.length} nodes; one process hosts the first ${hostedNodesMax}`)
    }
    return names.slice(0, hostedNodesMax)
  }

  async #begin(name: string): Promise<void> {
    const { nodesDirectory, logger: _, ...rest } = this.#options
    try {
      const { dataDirectory, root } = hostedNode(nodesDirectory, name)
      await mkdir(root, { recursive: true })
      const { node } = await readIdentity(dataDirectory)
      const [other] = [...this.#running].find(([, { identity }]) => identity.node === node) ?? []
      if (other !== undefined) throw new AppError("agent.already-running", `the identity in it is ${other}'s: a copy?`)
      const agent = await startAgent({ ...rest, dataDirectory, root, logger: this.#loggerOf(name) })
      this.#running.set(name, agent)
      this.#complaints.delete(name)
    } catch (error) {
      this.#complain(name, errorText(error))
    }
  }

  async #end(name: string): Promise<void> {
    const agent = this.#running.get(name)
    this.#running.delete(name)
    await agent?.stop().catch((error: unknown) => this.#complain(name, errorText(error)))
  }

  /** Once for each new reason, not with each scan. */
  #complain(name: string, reason: string): void {
    if (this.#complaints.get(name) === reason) return
    this.#complaints.set(name, reason)
    this.#loggerOf(name).error(name === "" ? "the nodes could not be looked at" : "a node could not be run", { reason })
  }

  #loggerOf(name: string): AgentLogger {
    const logger = this.#logger
    if (name === "") return logger
    return {
      info: (message, fields) => logger.info(message, { node: name, ...fields }),
      warn: (message, fields) => logger.warn(message, { node: name, ...fields }),
      error: (message, fields) => logger.error(message, { node: name, ...fields }),
    }
  }
}
