/** Rounds of several servers that share nodes behind one address, while servers and connections come and go. */
import { copyFile, mkdir } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import type { SeededRandom } from "@signalbox/engine/simulator/seeded-random"
import { connectDirect } from "@signalbox/server/storage/database"
import { startPrivatePostgres, type PrivatePostgres } from "@signalbox/server/storage/private-postgres"
import { TestInstallation } from "../processes.fixture.ts"
import { BalancingRelay } from "./balancing-relay.fixture.ts"
import { addHosts, addressOf, leaseMilliseconds, playDisturbed } from "./chaos-rounds.fixture.ts"
import type { ChaosSize, ChaosWorld } from "./chaos-rounds.fixture.ts"
import { nodesOf } from "./chaos-run.fixture.ts"

/** Servers of one installation, each a process with its own data folder, behind a balancer. */
export interface ServerGroup {
  readonly postgres: PrivatePostgres
  readonly relay: BalancingRelay
  /** The first one has the nodes and the client, whose calls go to any of the servers. */
  readonly servers: readonly TestInstallation[]
  start(server: TestInstallation, words?: readonly string[]): Promise<void>
  /** One more, started with these words too; nothing is passed on to it before it is told to the relay. */
  add(words?: readonly string[]): Promise<TestInstallation>
  /** Rows of the database that the servers share. */
  query<Row>(text: string): Promise<Row[]>
  remove(options: { readonly keepFiles?: boolean }): Promise<void>
}

export async function openServerGroup(count: number, more: readonly string[] = []): Promise<ServerGroup> {
  const first = await TestInstallation.create()
  const servers = [first]
  const postgres = await startPrivatePostgres({ dataDirectory: join(first.directory, "database") })
  const relay = await BalancingRelay.start()
  const shared = ["--insecure", "--public-url", relay.url, "--blobs-directory", join(first.directory, "blobs"), ...more]
  const variables = { DATABASE_URL: addressOf(postgres) }
  const start = async (server: TestInstallation, own: readonly string[] = []): Promise<void> => {
    const keys = server === first ? [] : ["--master-key-file", join(first.data, "master.key")]
    await server.startServer({ words: [...shared, ...keys, ...own], variables })
    // Until here another one of the group may have answered for it.
    await server.eventually("the server itself to answer", () => answers(server.port), startMilliseconds)
  }
  const add = async (words: readonly string[] = []): Promise<TestInstallation> => {
    const server = await TestInstallation.create()
    await mkdir(server.data, { recursive: true })
    await copyFile(join(first.data, "admin.json"), join(server.data, "admin.json"))
    await start(server, words)
    servers.push(server)
    return server
  }
  relay.spreadOver([first.port])
  await start(first)
  while (servers.length < count) await add()
  relay.spreadOver(servers.map(({ port }) => port))
  return {
    ...{ postgres, relay, servers, start, add },
    async query<Row>(text: string) {
      const client = await connectDirect(postgres.connection)
      try {
        return (await client.query(text)).rows as Row[]
      } finally {
        await client.end()
      }
    },
    async remove(options) {
      for (const server of servers) await server.server.end("SIGTERM")
      for (const server of servers.slice(1)) await server.remove(options)
      await relay.stop()
      await postgres.stop()
      await first.remove(options)
    },
  }
}

const startMilliseconds = 180_000

const answers = (port: number): Promise<boolean> =>
  fetch(`http://127.0.0.1:${port}/healthz`).then(
    ({ ok }) => ok,
    () => false,
  )

const presenceMilliseconds = 90_000

/**
 * Any server is killed, or stands still past its lease, or all connections are cut, so that agents and executions change
 * servers on their own; in between both have nodes of the same runs.
 */
export async function openServers(size: ChaosSize): Promise<ChaosWorld> {
  const group = await openServerGroup(2)
  const { relay, servers } = group
  const [first] = servers
  if (!first) throw new Error("a group has a server")
  const hosts = await addHosts(first, size)
  const nodes = hosts.flatMap(nodesOf)
  const disturb = async (random: SeededRandom): Promise<string> => {
    const number = random.integer(0, servers.length - 1)
    const server = servers[number] ?? first
    const what = random.pick(["kill", "freeze", "cut", "kill", "host"] as const)
    if (what === "cut") {
      relay.cut()
      return "cut the connections"
    }
    if (what === "host") {
      const host = hosts[random.integer(0, hosts.length - 1)]
      if (!host) throw new Error("there is a host")
      await host.process.end("SIGKILL")
      first.restartHost(host)
      return `killed ${host.prefix}`
    }
    if (what === "kill") {
      await server.server.end("SIGKILL")
      await delay(random.integer(0, leaseMilliseconds + 4_000))
      await group.start(server)
      return `killed server ${number + 1}`
    }
    server.server.child.kill("SIGSTOP")
    await delay(random.integer(leaseMilliseconds, leaseMilliseconds + 4_000))
    server.server.child.kill("SIGCONT")
    return `froze server ${number + 1}`
  }
  return {
    name: "servers",
    directory: first.directory,
    async playRound(random) {
      const report = await playDisturbed(first, nodes, { random, size, disturb: () => disturb(random) })
      return { ...report, faults: [...report.faults, ...(await judgePresence(group, nodes.length))] }
    },
    remove: (options) => group.remove(options),
  }
}

/** Once it is quiet, every node is shown as online, with one session on record. */
async function judgePresence(group: ServerGroup, count: number): Promise<string[]> {
  const deadline = performance.now() + presenceMilliseconds
  for (;;) {
    const [row] = await group.query<{ online: number; sessions: number }>(
      `select count(*) filter (where n.online)::int as online, count(s.node_id)::int as sessions
       from nodes n left join node_sessions s on s.node_id = n.id`,
    )
    if (row?.online === count && row.sessions === count) return []
    if (performance.now() > deadline) return [`${row?.online} of ${count} nodes are online, ${row?.sessions} on record`]
    await delay(500)
  }
}
