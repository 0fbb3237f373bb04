import { enrollmentKeysCreate } from "@signalbox/contracts/fleet/operations"
import { secretsPut } from "@signalbox/contracts/secrets/operations"
import { workflowsApply } from "@signalbox/contracts/workflows/operations"
import { AppError } from "@signalbox/kernel/app-error"
import { createClient, type Client } from "@signalbox/sdk/client"
import { randomBytes } from "node:crypto"
import { setTimeout as delay } from "node:timers/promises"
import { demoLimits, demoPlan, type Fault } from "./demo-plan.ts"
import type { DemoScreen } from "./demo-screen.ts"
import { type DemoContext, type DemoServer, startAgent, startServer, waitForAgents } from "./demo-server.ts"
import { FleetHealth } from "./fleet-health.ts"
import { type FleetNode, makeNodes, startService } from "./fleet-node.ts"
import { Mailbox } from "./mailbox.ts"
import { requireApproval } from "./members.ts"
import { Prober } from "./prober.ts"
import { workflowDocument, workflowName } from "./web-config-workflow.ts"

/** Everything that runs when the story begins. */
export interface DemoFleet {
  readonly server: DemoServer
  readonly client: Client
  readonly nodes: readonly FleetNode[]
  readonly prober: Prober
  readonly health: FleetHealth
  readonly mailbox: Mailbox
  readonly caPem: string
  /** The value of the secret `web-token`. */
  readonly secret: string
  readonly agentProcessIds: readonly number[]
}

export interface FleetWish {
  /** Whether runs of the demo's workflow wait for its members. */
  readonly needsApproval: boolean
  /** What is wrong with machines, by their number from 1. */
  readonly faults: ReadonlyMap<number, Fault>
}

/** Starts server, services and agents as processes of their own. @throws demo.part-failed */
export async function startFleet(
  context: DemoContext,
  screen: DemoScreen,
  { needsApproval, faults }: FleetWish,
): Promise<DemoFleet> {
  const { workspace, signal } = context
  const nodes = await makeNodes(workspace, faults)
  const prober = new Prober()
  const health = new FleetHealth(prober, nodes)
  const mailbox = new Mailbox()
  const secret = randomBytes(16).toString("hex")
  let client: Client | undefined
  try {
    await health.listen()
    await mailbox.listen()
    const starting = startServer(context, { healthAddress: health.address, smtpUrl: mailbox.url })
    starting.catch(() => undefined)
    await atMost(demoLimits.startsAtOnce, nodes, async (node) => {
      await startService(workspace, node, context)
      prober.watch(node.name, node.port)
    })
    await waitForServices(prober, nodes, signal)
    screen.done(`${nodes.length} web services, one a node, answer ${demoPlan.versionBefore} over HTTP`)
    const server = await starting
    screen.done(`a server with a database of its own answers at ${server.url} (TLS)`)
    client = createClient({ url: server.url, key: server.key, caPem: server.caPem, userAgent: "signalbox-demo" })
    const key = await createEnrollmentKey(client, signal)
    const agentProcessIds = await atMost(demoLimits.startsAtOnce, nodes, (node) =>
      startAgent(context, node, { server, key }),
    )
    await waitForAgents(context, client)
    screen.done(`${nodes.length} agents, enrolled with one key that was good for ${nodes.length}, are online`)
    await client.call(workflowsApply, { name: workflowName, document: workflowDocument }, { signal })
    await client.call(secretsPut, { name: "web-token", value: secret }, { signal })
    if (needsApproval) await requireApproval({ client, signal })
    return { server, caPem: server.caPem, client, nodes, prober, health, mailbox, secret, agentProcessIds }
  } catch (error) {
    prober.stop()
    health.stop()
    mailbox.stop()
    await client?.close()
    throw error
  }
}

async function createEnrollmentKey(client: Client, signal: AbortSignal): Promise<string> {
  const usesMax = demoPlan.nodesCount
  const input = { name: "demo", usesMax, expiresIn: "10m", tags: { role: "web" } }
  const reply = await client.call(enrollmentKeysCreate, input, { signal })
  if (reply.status === "held") throw new AppError("demo.part-failed", "the enrolment key was held for approval")
  return reply.value.key
}

async function waitForServices(prober: Prober, nodes: readonly FleetNode[], signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + demoLimits.servicesReadyMilliseconds
  while (performance.now() < deadline) {
    signal.throwIfAborted()
    if (nodes.every(({ name }) => prober.answer(name).version === demoPlan.versionBefore)) return
    await delay(demoLimits.pollMilliseconds)
  }
  throw new AppError("demo.part-failed", "the services of the nodes don't answer on 127.0.0.1")
}

/** Does the work for all items, for a few at a time; the first failure ends it. */
async function atMost<Item, Result>(
  width: number,
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = []
  const queue = items.entries()
  const worker = async () => {
    for (const [index, item] of queue) results[index] = await work(item)
  }
  await Promise.all(Array.from({ length: width }, worker))
  return results
}
