import { enrollmentKeysCreate, enrollmentKeysRevoke, nodesGet } from "@signalbox/contracts/fleet/operations"
import type { OutputOf } from "@signalbox/contracts/operation"
import { limits } from "@signalbox/contracts/schemas"
import { AppError, hasCode } from "@signalbox/kernel/app-error"
import { mapBounded } from "@signalbox/kernel/map-bounded"
import type { Client } from "@signalbox/sdk/client"
import { createReadStream } from "node:fs"
import { setTimeout as delay } from "node:timers/promises"
import { type AgentBundle, makeAgentBundle, nodeArchitecture, runtimeFolder } from "./agent-bundle.ts"
import type { InstallTarget } from "./install-plan.ts"
import {
  probeScript,
  readFacts,
  receiveScript,
  type RemoteFacts,
  type RemotePlaces,
  settleScript,
} from "./remote-scripts.ts"
import { runSsh, sshLimits, type SshResult } from "./ssh.ts"

export const installLimits = {
  parallelMax: 100,
  onlinePollMilliseconds: 500,
  keyLife: "1h",
  detailLengthMax: 300,
} as const

/** The oldest Node.js that the program runs on. */
const nodeMajorMin = 24

export interface InstallOptions {
  readonly client: Client
  readonly targets: readonly InstallTarget[]
  readonly places: RemotePlaces
  readonly sshOptions: readonly string[]
  readonly parallelMax: number
  /** False: the agent is started without a service. */
  readonly service: boolean
  readonly tags: Readonly<Record<string, string>>
  /** Where the nodes reach the server, if not where it says itself. */
  readonly serverUrl?: string
  readonly onlineMilliseconds: number
  readonly signal: AbortSignal
  readonly onProgress: (line: string) => void
}

export interface HostPlan {
  readonly target: InstallTarget
  /** `none`: it is as it should be. */
  readonly action: "install" | "update" | "start" | "none" | "refuse"
  readonly reason: string
  readonly facts?: RemoteFacts
}

export interface HostResult {
  readonly host: string
  readonly node: string
  readonly address: string
  readonly result: "installed" | "updated" | "started" | "unchanged" | "failed"
  readonly state: string
  readonly detail: string
}

/** What would be done on a machine that said this of itself. Pure. */
export function decideHost(
  target: InstallTarget,
  facts: RemoteFacts,
  wanted: { readonly digest: string; /** Whether the server knows the node that it is. */ readonly isOurs: boolean },
): HostPlan {
  const plan = (action: HostPlan["action"], reason: string): HostPlan => ({ target, action, reason, facts })
  const { os, arch, identity } = facts
  if (!facts.isComplete) return plan("refuse", "its answer was cut off; call again")
  if (os !== "Linux") return plan("refuse", `${os || "an unknown system"} is not supported; agents run on Linux`)
  if (!/^(?:x64|arm64)$/.test(nodeArchitecture(arch)) && !hasNode(facts))
    return plan("refuse", `no Node.js is brought along for ${arch}; install Node.js ${nodeMajorMin} there`)
  if (!facts.hasTools) return plan("refuse", "it lacks one of tar, gzip and sed")
  if (identity && !wanted.isOurs)
    return plan("refuse", `it is the node ${identity.name} of ${identity.serverUrl}, which is unknown to this account`)
  if (!identity) return plan("install", `${os} ${arch}${hasNode(facts) ? `, its own Node.js ${facts.node}` : ""}`)
  if (facts.program !== wanted.digest)
    return plan("update", `it has another version, ${facts.program || "not by this command"}`)
  return facts.isRunning ? plan("none", "installed and running") : plan("start", "its agent doesn't run")
}

export function hasNode({ node }: RemoteFacts): boolean {
  return Number(node.split(".")[0]) >= nodeMajorMin
}

/** Looks at every machine, and changes nothing on any. */
async function planHosts(options: InstallOptions, digest: string): Promise<HostPlan[]> {
  const script = probeScript(options.places, await runtimeFolder())
  return await mapBounded(options.targets, options.parallelMax, async (target) => {
    const probed = await runSsh({ target, script, options: options.sshOptions, signal: options.signal })
    if (probed.code !== 0) return { target, action: "refuse", reason: failureOf(probed) }
    const facts = readFacts(probed.stdout)
    const isOurs = facts.identity !== undefined && (await stateOf(options.client, facts.identity.node)) !== undefined
    return decideHost(target, facts, { digest, isOurs })
  })
}

/** A node's state; undefined where there is no such node. */
async function stateOf(client: Client, node: string): Promise<string | undefined> {
  try {
    return (await client.call(nodesGet, { node })).state
  } catch (error) {
    if (hasCode(error, "fleet.node-not-found")) return undefined
    throw error
  }
}

export interface Installation {
  readonly plans: readonly HostPlan[]
  readonly results: readonly HostResult[]
}

/**
 * Makes the machines nodes: looks at each, makes an enrolment key for as many as are none yet, puts the program there,
 * enrols, starts, and waits until each is online. A machine that is as it should be is left alone, so that the call can
 * be repeated; what fails on one is no matter of the others. With `dryRun` it looks only.
 */
export async function installHosts(options: InstallOptions & { readonly dryRun: boolean }): Promise<Installation> {
  const bundle = await makeAgentBundle()
  try {
    const plans = await planHosts(options, bundle.digest)
    if (options.dryRun) return { plans, results: [] }
    const joining = plans.filter(({ action }) => action === "install").map(({ target }) => target)
    const key = joining.length === 0 ? undefined : await makeKey(options, joining)
    try {
      const work = new HostWork(options, bundle, key)
      const results = await mapBounded(plans, options.parallelMax, (plan) => work.install(plan))
      return { plans, results }
    } finally {
      if (key) await options.client.call(enrollmentKeysRevoke, { key: key.id })
    }
  } finally {
    await bundle.remove()
  }
}

type RunKey = OutputOf<typeof enrollmentKeysCreate>

/** The enrolment key of this run: good for its machines and an hour; revoked at the end. */
async function makeKey({ client, tags }: InstallOptions, joining: readonly InstallTarget[]): Promise<RunKey> {
  const tagsAllowed = [...new Set(joining.flatMap((target) => Object.keys(target.tags)))]
  if (tagsAllowed.length + Object.keys(tags).length > limits.tagsMax) {
    const message = `the inventory has ${tagsAllowed.length} groups; a node has at most ${limits.tagsMax} tags`
    throw new AppError("cli.usage", `${message}: leave --tag-from-groups out, or give --limit`)
  }
  const terms = { name: "nodes install", usesMax: joining.length, expiresIn: installLimits.keyLife, tags, tagsAllowed }
  const reply = await client.call(enrollmentKeysCreate, terms)
  if (reply.status === "held") {
    const message = `the enrolment key is held for approval (${reply.requestUrl}); call again when it is approved`
    throw new AppError("cli.usage", message)
  }
  return reply.value
}

class HostWork {
  readonly #options: InstallOptions
  readonly #bundle: AgentBundle
  readonly #key: RunKey | undefined

  constructor(options: InstallOptions, bundle: AgentBundle, key: RunKey | undefined) {
    this.#options = options
    this.#bundle = bundle
    this.#key = key
  }

  /** Never throws for what happens on a machine. */
  async install(plan: HostPlan): Promise<HostResult> {
    const { target, facts } = plan
    const done = (result: HostResult["result"], state: string, detail: string): HostResult => {
      this.#options.onProgress(`${target.host}: ${result}${detail === "" ? "" : `, ${detail}`}`)
      return { host: target.host, node: target.name, address: target.address, result, state, detail }
    }
    if (plan.action === "refuse" || !facts) return done("failed", "-", plan.reason)
    try {
      const identity = plan.action === "none" ? facts.identity : await this.#settle(target, facts)
      const state = await this.#waitOnline(identity?.node ?? target.name)
      if (state !== "online") return done("failed", state, "it did not come online; see its agent's log")
      const result = { install: "installed", update: "updated", start: "started", none: "unchanged" } as const
      return done(result[plan.action], state, plan.action === "none" ? "" : plan.reason)
    } catch (error) {
      if (this.#options.signal.aborted) throw error
      return done("failed", "-", error instanceof Error ? error.message : String(error))
    }
  }

  async #settle(target: InstallTarget, facts: RemoteFacts): Promise<RemoteFacts["identity"]> {
    const { places, serverUrl } = this.#options
    const { digest, programArchive } = this.#bundle
    if (facts.program !== digest) await this.#send(target, `program-${digest}`, programArchive)
    const runtime = hasNode(facts) ? undefined : await runtimeFolder()
    if (runtime !== undefined && !facts.hasRuntime) {
      const made = await this.#bundle.runtime(facts.arch)
      await this.#send(target, made.folder, made.archive)
    }
    const key = facts.identity ? undefined : this.#key
    const script = settleScript({
      ...{ places, program: digest },
      ...(runtime === undefined ? {} : { runtime }),
      ...(key === undefined ? {} : { enroll: enrollWords(target, key, serverUrl) }),
      service: this.#options.service && facts.isRoot && facts.hasSystemd,
    })
    return readFacts(await this.#ssh(target, script, { input: key === undefined ? "" : `${key.key}\n` })).identity
  }

  async #send(target: InstallTarget, folder: string, archive: string): Promise<void> {
    const timeoutMilliseconds = sshLimits.uploadMilliseconds
    await this.#ssh(target, receiveScript(this.#options.places, folder), {
      input: createReadStream(archive),
      timeoutMilliseconds,
    })
  }

  async #ssh(
    target: InstallTarget,
    script: string,
    more: { readonly input: string | ReturnType<typeof createReadStream>; readonly timeoutMilliseconds?: number },
  ): Promise<string> {
    const { sshOptions, signal } = this.#options
    const result = await runSsh({ target, script, options: sshOptions, signal, ...more })
    if (result.code !== 0) throw new Error(failureOf(result))
    return result.stdout
  }

  /** The node's state when it is online, or when the time for it is over. */
  async #waitOnline(node: string): Promise<string> {
    const { client, onlineMilliseconds, signal } = this.#options
    const deadline = performance.now() + onlineMilliseconds
    for (;;) {
      const state = (await stateOf(client, node)) ?? "unknown"
      if (state === "online" || performance.now() > deadline) return state
      await delay(installLimits.onlinePollMilliseconds, undefined, { signal })
    }
  }
}

function enrollWords(target: InstallTarget, key: RunKey, serverUrl: string | undefined): string[] {
  return [
    ...["--server", serverUrl ?? key.serverUrl, "--name", target.name],
    ...(key.caFingerprint === undefined ? [] : ["--ca-fingerprint", key.caFingerprint]),
    ...Object.entries(target.tags).flatMap(([name, value]) => ["--tag", `${name}=${value}`]),
  ]
}

/** What ssh or the script said last; a failure of ssh itself has the code 255. */
function failureOf({ code, stderr }: SshResult): string {
  const said = stderr
    .trim()
    .split("\n")
    .filter((line) => !line.startsWith("Warning: Permanently added"))
    .slice(-3)
    .join("; ")
  const where = code === 255 || code === null ? "ssh failed" : `the machine's script ended with ${code}`
  return `${where}: ${said || "no reason given"}`.slice(0, installLimits.detailLengthMax)
}
