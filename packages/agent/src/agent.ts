import { chmod, mkdir, readFile, realpath, stat } from "node:fs/promises"
import { loadavg } from "node:os"
import { randomBytes } from "node:crypto"
import { join } from "node:path"
import { type AgentFrame, agentProtocolVersion } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError } from "@signalbox/kernel/app-error"
import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import { type AgentIdentity, readIdentity, readMachineId, readPrivateKey } from "./agent-identity.ts"
import { agentRunLimits, type AgentRunLimits } from "./agent-limits.ts"
import { takeLock } from "./agent-lock.ts"
import { type AgentLogger, errorText, silentLogger } from "./agent-logger.ts"
import type { ApprovalGuard } from "./approval-guard.ts"
import type { AttemptContext } from "./attempt-context.ts"
import { AttemptExecutor } from "./attempt-executor.ts"
import { ChannelFinder, type ChannelFinderOptions } from "./channel-finder.ts"
import { giveBackMemory, IdleTimer } from "./idle-memory.ts"
import { InventoryReporter } from "./inventory-reporter.ts"
import { Journal } from "./journal.ts"
import { removeWorkPlaces } from "./output-file.ts"
import { PolicyGuard } from "./policy-file.ts"
import { MetricSampler } from "./metric-sampler.ts"
import { ProbeRunner } from "./probe-runner.ts"
import { readBootId } from "./process-identity.ts"
import { recoverAttempts } from "./recovery.ts"
import { pruneAttempts } from "./retention.ts"
import { machineUptime, ServerClock } from "./server-clock.ts"
import { RequestPace } from "./request-pace.ts"
import { ServerSteps } from "./server-steps.ts"
import { parseServerUrl } from "./server-transport.ts"
import { signSessionToken } from "./session-token.ts"
import { type OrderFrame, SessionKeeper } from "./session.ts"
import { StartReports } from "./start-reports.ts"

export const agentVersion = "0.1.0"

export interface AgentOptions {
  /** Where `identity.json`, the key, the journal and saved files are (see `defaultDataDirectory`). */
  readonly dataDirectory: string
  /** Prefix of all saved and restored paths and working directory of commands (D18); `/` where absent. */
  readonly root?: string
  /** The local policy, which must be there; where absent, the usual file counts if there is one (`defaultPolicyFile`). */
  readonly policyFile?: string
  /** Below it are the kernel's files, proc and sys, out of which load and memory are told; `/` where absent. */
  readonly systemRoot?: string
  readonly logger?: AgentLogger
  readonly clock?: Clock
  readonly random?: Random
  /** Other bounds than the usual ones, for tests. */
  readonly limits?: Partial<AgentRunLimits>
}

export interface RunningAgent {
  readonly identity: AgentIdentity
  /** Stops the running task (reported `interrupted`), says good-bye, and releases the directory. */
  stop(): Promise<void>
}

/**
 * Starts the agent of an enrolled machine: recovers its journal, connects, and keeps trying for ever. Resolves before
 * the first session is open.
 *
 * @throws agent.not-enrolled, agent.state-damaged, agent.already-running, settings.invalid, settings.plaintext-refused
 */
export async function startAgent(options: AgentOptions): Promise<RunningAgent> {
  const { dataDirectory } = options
  const identity = await readIdentity(dataDirectory)
  const privateKey = await readPrivateKey(dataDirectory)
  const root = await checkRoot(options.root ?? "/")
  const url = parseServerUrl(identity.serverUrl, identity.insecure === true)
  const ca = identity.caFile === undefined ? undefined : await readFile(join(dataDirectory, identity.caFile), "utf8")
  await chmod(dataDirectory, 0o700)
  const lock = await takeLock(dataDirectory)
  try {
    const running = await assemble({ options, identity, privateKey, root, url, ...(ca !== undefined && { ca }) })
    return {
      identity,
      stop: async () => {
        await running.stop()
        await lock.release()
      },
    }
  } catch (error) {
    await lock.release()
    throw error
  }
}

async function checkRoot(root: string): Promise<string> {
  const found = await stat(root).catch(() => undefined)
  if (!found?.isDirectory()) throw new AppError("settings.invalid", `the agent's root ${root} is no directory`)
  return await realpath(root)
}

interface Parts {
  readonly options: AgentOptions
  readonly identity: AgentIdentity
  readonly privateKey: Awaited<ReturnType<typeof readPrivateKey>>
  readonly root: string
  readonly url: URL
  readonly ca?: string
}

/** Joins the parts: journal -> executor -> session, each told of the next by a function. */
async function assemble(parts: Parts): Promise<{ stop(): Promise<void> }> {
  const { options, root } = parts
  const { dataDirectory, logger = silentLogger, clock = { now: () => Date.now() } } = options
  const random = options.random ?? { bytes: (count: number) => randomBytes(count) }
  const limits: AgentRunLimits = { ...agentRunLimits, ...options.limits }
  const machineId = readMachineId()
  const serverClock = new ServerClock(clock, machineUptime)
  const [serverNow, onServerTime] = [() => serverClock.now(), (now: number) => serverClock.set(now)]
  const pace = new RequestPace({ gapMilliseconds: limits.exchangeGapMilliseconds, burst: limits.exchangeBurst })

  await mkdir(join(dataDirectory, "saved"), { recursive: true, mode: 0o700 })
  const journal = await Journal.open(join(dataDirectory, "journal"), clock)
  const { send } = new StartReports((frame) => session.send(frame), limits.startHeldMilliseconds)
  const context: AttemptContext = {
    ...{ root, dataDirectory, journal, clock, random, logger, limits, serverNow, send, uptime: machineUptime },
    backedUp: () => session.bufferedBytes > limits.socketBufferedBytesMax,
    serverSteps: new ServerSteps(send),
    fetchArtifact: makeFetcher(parts, { limits, machineId, serverNow, pace }),
  }
  const approvals = makeApprovalGuard(parts, { clock, limits, machineId, serverNow, pace })
  const executor = new AttemptExecutor(context)
  const policy = new PolicyGuard(options.policyFile, approvals)
  executor.refuses = (judged) => policy.refuses(judged, root)
  const { probes, metrics } = makeObservers(context, policy, options.systemRoot ?? "/")
  const inventory: InventoryReporter = new InventoryReporter({
    ...{ root, limits, logger },
    policy: () => policy.state(),
    send,
    flush: () => session.flush(),
  })
  let resumed = false
  const session: SessionKeeper = new SessionKeeper({
    ...{ clock, random, logger, limits },
    channels: findChannels(parts, { random, logger, limits, machineId, serverNow, onServerTime, pace }),
    hello: () => helloOf(machineId, executor),
    load: () => loadavg()[0] ?? 0,
    onServerTime,
    onWelcome: () => {
      report(logger, "resend", executor.resend("all"))
      inventory.onSession()
      metrics.watch([])
      idle.restart()
      // Only now the server's clock is known, by which `startBefore` is judged.
      if (!resumed) executor.resume("task")
      context.serverSteps.askAgain()
      resumed = true
    },
    onOrder: (frame) => handleOrder(frame, { context, executor, probes, metrics, inventory }),
  })
  const idle = new IdleTimer(limits.idleMilliseconds, giveBackMemory)
  executor.onFinished = () => {
    inventory.collectSoon()
    idle.restart()
    if (journal.size > limits.attemptsKeptMax * 1.1) report(logger, "prune", pruneAttempts(context))
  }
  await tidyUp(context)
  executor.resume("rollback")
  const timers = startTimers(context, executor)
  inventory.start()
  session.start()
  idle.restart()
  const stop = async () => {
    for (const timer of timers) clearInterval(timer)
    idle.stop()
    await Promise.all([executor.stop(), probes.stop(), metrics.stop()])
    inventory.stop()
    await session.stop()
  }
  return { stop }
}

/** What only looks, beside whatever the node does. */
function makeObservers(
  context: AttemptContext,
  policy: PolicyGuard,
  systemRoot: string,
): { probes: ProbeRunner; metrics: MetricSampler } {
  const probes = new ProbeRunner(context)
  probes.refuses = (probe) => policy.refusesProbe(probe)
  return { probes, metrics: new MetricSampler(context, (command) => policy.refusesProbe(command), systemRoot) }
}

function findChannels(
  { identity, privateKey, url, ca }: Parts,
  shared: Pick<ChannelFinderOptions, "random" | "logger" | "limits" | "pace" | "onServerTime"> & {
    readonly machineId: string
    readonly serverNow: () => number
  },
): ChannelFinder {
  const { machineId, serverNow, ...rest } = shared
  return new ChannelFinder({
    ...rest,
    server: url,
    ...(ca !== undefined && { ca }),
    token: (lifeSeconds) => signSessionToken({ identity, privateKey, machineId, now: serverNow(), lifeSeconds }),
  })
}

function makeFetcher(
  { options, identity, privateKey, url, ca }: Parts,
  shared: Pick<ChannelFinderOptions, "limits" | "pace"> & {
    readonly machineId: string
    readonly serverNow: () => number
  },
): AttemptContext["fetchArtifact"] {
  const { limits, pace, machineId, serverNow } = shared
  const lifeSeconds = limits.exchangeTokenSeconds
  const token = () => signSessionToken({ identity, privateKey, machineId, now: serverNow(), lifeSeconds })
  let fetcher: Promise<{ fetch: AttemptContext["fetchArtifact"] }> | undefined
  return async (artifact, stop) => {
    // Loaded by the first order that has one.
    fetcher ??= import("./artifact-fetcher.ts").then(
      ({ ArtifactFetcher }) =>
        new ArtifactFetcher({
          ...{ dataDirectory: options.dataDirectory, server: url, limits, pace, token },
          ...(ca !== undefined && { ca }),
        }),
    )
    return await (await fetcher).fetch(artifact, stop)
  }
}

/** Loaded by the first order under a policy that wants approvals. */
function makeApprovalGuard(
  { options, identity, privateKey, url, ca }: Parts,
  shared: Pick<ChannelFinderOptions, "limits" | "pace"> & {
    readonly clock: Clock
    readonly machineId: string
    readonly serverNow: () => number
  },
): () => Promise<ApprovalGuard> {
  const { clock, limits, pace, machineId, serverNow } = shared
  const lifeSeconds = limits.exchangeTokenSeconds
  const token = () => signSessionToken({ identity, privateKey, machineId, now: serverNow(), lifeSeconds })
  const from = { server: url, limits, pace, token, ...(ca !== undefined && { ca }) }
  let guard: Promise<ApprovalGuard> | undefined
  const load = async (): Promise<ApprovalGuard> => {
    const { ApprovalGuard } = await import("./approval-guard.ts")
    const { fetchEvidence } = await import("./evidence-fetcher.ts")
    return new ApprovalGuard({
      ...{ dataDirectory: options.dataDirectory, clock, identity },
      fetchEvidence: (execution, ordinal, stop) => fetchEvidence(from, { execution, ordinal, stop }),
    })
  }
  return () => (guard ??= load())
}

function startTimers(context: AttemptContext, executor: AttemptExecutor): NodeJS.Timeout[] {
  const { limits, logger } = context
  return [
    setInterval(() => report(logger, "resend", executor.resend("late")), limits.resendIntervalMilliseconds),
    setInterval(() => report(logger, "prune", pruneAttempts(context)), limits.pruneIntervalMilliseconds),
  ]
}

function helloOf(machineId: string, executor: AttemptExecutor): AgentFrame {
  const known = { agentVersion, machineId, bootId: readBootId() ?? "" }
  return { type: "hello", protocol: agentProtocolVersion, ...known, open: executor.open() }
}

/** What an agent before this one left. */
async function tidyUp(context: AttemptContext): Promise<void> {
  await removeWorkPlaces(context.dataDirectory)
  await recoverAttempts(context)
  await pruneAttempts(context)
}

interface OrderTakers {
  readonly context: AttemptContext
  readonly executor: AttemptExecutor
  readonly probes: ProbeRunner
  readonly metrics: MetricSampler
  readonly inventory: InventoryReporter
}

async function handleOrder(frame: OrderFrame, takers: OrderTakers): Promise<void> {
  const { context, executor, probes, metrics, inventory } = takers
  switch (frame.type) {
    case "start":
      return await executor.start(frame)
    case "rollback":
      return await executor.rollback(frame)
    case "kill":
      return await executor.kill(frame.key, frame.reason)
    case "acknowledge":
      return await executor.acknowledge(frame.key, frame.phase)
    case "step-result":
      return context.serverSteps.take(frame)
    case "probe":
      return probes.start(frame)
    case "watch-metrics":
      return metrics.watch(frame.watches)
    case "collect-inventory":
      return inventory.collectNow()
  }
}

function report(logger: AgentLogger, what: string, work: Promise<void>): void {
  work.catch((error: unknown) => logger.error(`${what} failed`, { error: errorText(error) }))
}
