/** Kinds of rounds: who is killed, stopped or frozen while runs go on, and what is looked at then. */
import { copyFile, mkdir } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import type { SeededRandom } from "@signalbox/engine/simulator/seeded-random"
import { connectDirect } from "@signalbox/server/storage/database"
import { startPrivatePostgres, type PrivatePostgres } from "@signalbox/server/storage/private-postgres"
import { TestInstallation, type TestHost } from "../processes.fixture.ts"
import { drawRun, nodesOf, playRun, type ChaosNode } from "./chaos-run.fixture.ts"
import { SwitchingRelay } from "./switching-relay.fixture.ts"

export interface ChaosSize {
  readonly hosts: number
  readonly nodesPerHost: number
  /** Runs of a round; each has a task for every node. */
  readonly runs: number
  readonly runsAtOnce: number
  readonly disturbancesMax: number
  /** Between one disturbance and the next. */
  readonly quietMillisecondsMax: number
  readonly stepSecondsMax: number
}

export interface RoundReport {
  /** What ran and what was done to it, in a line. */
  readonly what: string
  readonly faults: readonly string[]
}

/** An installation that is left behind where a round failed, so that a person can look at it. */
export interface ChaosWorld {
  readonly name: string
  readonly directory: string
  playRound(random: SeededRandom): Promise<RoundReport>
  remove(options: { readonly keepFiles: boolean }): Promise<void>
}

/** The lease of an execution is 8 s, and owners look for lapsed ones every half second. */
export const leaseMilliseconds = 8_000
const takeoverMillisecondsMax = 60_000
const pollMilliseconds = 100

export async function addHosts(installation: TestInstallation, size: ChaosSize): Promise<TestHost[]> {
  const hosts: TestHost[] = []
  for (let number = 1; number <= size.hosts; number++) {
    const prefix = `r${number}-`
    hosts.push(await installation.addHostedNodes(prefix, size.nodesPerHost, { rack: prefix }))
  }
  return hosts
}

/** Plays runs, a few at a time, and disturbs them until the last has ended. */
export async function playDisturbed(
  installation: TestInstallation,
  nodes: readonly ChaosNode[],
  round: { readonly random: SeededRandom; readonly size: ChaosSize; readonly disturb: () => Promise<string> },
): Promise<RoundReport> {
  const { random, size, disturb } = round
  const drawn = Array.from({ length: size.runs }, () => drawRun(random, nodes, size.stepSecondsMax))
  const [words, faults]: [string[], string[]] = [[], []]
  let open = size.runsAtOnce
  const worker = async (): Promise<void> => {
    for (let run = drawn.shift(); run; run = drawn.shift()) {
      const played = await playRun(installation, nodes, run)
      words.push(`${run.kind}: ${played.state}`)
      faults.push(...played.faults.map((fault) => `${played.id} (${run.kind}): ${fault}`))
    }
  }
  const disturbing = async (): Promise<void> => {
    for (let count = 0; count < size.disturbancesMax; count++) {
      await delay(random.integer(100, size.quietMillisecondsMax))
      if (open === 0) return
      words.push(await disturb())
    }
  }
  const workers = Array.from({ length: size.runsAtOnce }, () => worker().finally(() => (open -= 1)))
  const results = await Promise.allSettled([...workers, disturbing()])
  for (const result of results) if (result.status === "rejected") faults.push(String(result.reason))
  return { what: words.join(", "), faults }
}

/** `kill -9` of the server and of agent processes, which are away for up to a second and a half. */
export async function openKills(size: ChaosSize): Promise<ChaosWorld> {
  const installation = await TestInstallation.create()
  await installation.startServer()
  const hosts = await addHosts(installation, size)
  const nodes = hosts.flatMap(nodesOf)
  return {
    name: "kills",
    directory: installation.directory,
    playRound: (random) =>
      playDisturbed(installation, nodes, {
        random,
        size,
        disturb: async () => {
          const host = random.chance(0.35) ? undefined : hosts[random.integer(0, hosts.length - 1)]
          await (host?.process ?? installation.server).end("SIGKILL")
          await delay(random.integer(0, 1_500))
          if (host) installation.restartHost(host)
          else await installation.startServer()
          return host ? `killed ${host.prefix}` : "killed the server"
        },
      }),
    remove: (options) => installation.remove(options),
  }
}

export const addressOf = ({ connection }: PrivatePostgres): string => {
  const { host, port, user, database } = connection as Record<string, string>
  return `postgres://${user}@/${database}?host=${encodeURIComponent(host ?? "")}&port=${port}`
}

/** A database of its own that is shut down, in haste or at once, and comes back; its keeper starts it 20 times at most. */
export async function openDatabaseStops(size: ChaosSize): Promise<ChaosWorld> {
  const installation = await TestInstallation.create()
  const startBoth = async (): Promise<PrivatePostgres> => {
    const started = await startPrivatePostgres({ dataDirectory: join(installation.directory, "database") })
    await installation.startServer({ variables: { DATABASE_URL: addressOf(started) } })
    return started
  }
  const stopBoth = async (): Promise<void> => {
    await installation.server.end("SIGTERM")
    await postgres.stop()
  }
  let postgres = await startBoth()
  const nodes = (await addHosts(installation, size)).flatMap(nodesOf)
  return {
    name: "database stops",
    directory: installation.directory,
    async playRound(random) {
      await stopBoth()
      postgres = await startBoth()
      return await playDisturbed(installation, nodes, {
        random,
        size,
        disturb: async () => {
          const before = postgres.processId
          const signal = random.pick(["SIGINT", "SIGQUIT"] as const)
          process.kill(before, signal)
          await installation.eventually("the database to be back", async () => postgres.processId !== before)
          return signal === "SIGINT" ? "stopped the database fast" : "stopped the database at once"
        },
      })
    },
    async remove(options) {
      await stopBoth()
      await installation.remove(options)
    },
  }
}

/** Two servers of one installation; the one that has the runs and all nodes stands still until the other has taken both over. */
export async function openTakeovers(size: ChaosSize): Promise<ChaosWorld> {
  const [one, two] = [await TestInstallation.create(), await TestInstallation.create()]
  const postgres = await startPrivatePostgres({ dataDirectory: join(one.directory, "database") })
  const relay = await SwitchingRelay.start()
  relay.switchTo(one.port)
  const shared = ["--insecure", "--public-url", relay.url, "--blobs-directory", join(one.directory, "blobs")]
  const words = [...shared, "--master-key-file", join(one.data, "master.key")]
  const variables = { DATABASE_URL: addressOf(postgres) }
  await one.startServer({ words: shared, variables })
  await mkdir(two.data, { recursive: true })
  await copyFile(join(one.data, "admin.json"), join(two.data, "admin.json"))
  await two.startServer({ words, variables })
  const hosts = await addHosts(one, size)
  const nodes = hosts.flatMap(nodesOf)
  let [awake, next] = [one, two]
  const owners = async (): Promise<{ readonly names: string; readonly live: boolean }> => {
    const client = await connectDirect(postgres.connection)
    try {
      const { rows } = await client.query(
        `select coalesce(string_agg(id || ' ' || owner || ' ' || epoch, ', ' order by id), '') as names,
           coalesce(bool_and(owner is not null and leased_until > clock_timestamp()), true) as live
         from executions where finished_at is null`,
      )
      return rows[0] as { names: string; live: boolean }
    } finally {
      await client.end()
    }
  }
  const freeze = async (): Promise<string> => {
    ;[awake, next] = [next, awake]
    const { names: before } = await owners()
    relay.switchTo(awake.port)
    next.server.child.kill("SIGSTOP")
    try {
      // What it had renewed last has lapsed by then, so a lease that is good is the other's.
      await delay(leaseMilliseconds)
      const deadline = performance.now() + takeoverMillisecondsMax
      while (!(await owners()).live && performance.now() < deadline) await delay(pollMilliseconds)
      const { names, live } = await owners()
      if (!live) throw new Error(`nobody took over ${names}`)
      return names === before ? "froze the server that had nothing" : "froze the server until the other had its runs"
    } finally {
      next.server.child.kill("SIGCONT")
    }
  }
  return {
    name: "takeovers",
    directory: one.directory,
    playRound: (random) => playDisturbed(one, nodes, { random, size, disturb: freeze }),
    async remove(options) {
      await one.server.end("SIGTERM")
      await two.remove(options)
      await relay.stop()
      await postgres.stop()
      await one.remove(options)
    },
  }
}
