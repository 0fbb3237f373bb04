/** A run of a drawn kind over many nodes: what it asks for, how it is followed while servers come and go, and its verdict. */
import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import type { SeededRandom } from "@signalbox/engine/simulator/seeded-random"
import { executionsAbort, executionsCreate, executionsGet, tasksList } from "@signalbox/contracts/workflows/operations"
import type { Client } from "@signalbox/sdk/client"
import type { TestHost, TestInstallation } from "../processes.fixture.ts"
import { readNodesEvidence, stepLog } from "../run-evidence.fixture.ts"
import { judgeRun, type NodeWitness, type RunLimits, type ToldTask } from "./judge-run.fixture.ts"

export interface ChaosNode {
  readonly name: string
  readonly rack: string
  readonly root: string
  readonly agentDirectory: string
}

export const nodesOf = (host: TestHost): ChaosNode[] =>
  host.names.map((name) => {
    const directory = join(host.nodesDirectory, name)
    return { name, rack: host.prefix, root: join(directory, "root"), agentDirectory: join(directory, "agent") }
  })

export interface DrawnRun {
  readonly kind: string
  readonly limits: RunLimits
  readonly document: string
  /** What the step changes on each node; runs that go on at once have files of their own. */
  readonly file: string
  /** A person ends the run once so many nodes have begun. */
  readonly abort: { readonly afterNodes: number; readonly mode: "finish" | "kill" } | undefined
}

const kinds = ["all", "limit", "strict", "racks", "unavailable", "finish", "kill"] as const
const runEndMilliseconds = 600_000
/** A node that was given up goes back once it has its server again. */
const goBackMilliseconds = 90_000
const lookAgainMilliseconds = 500
/** No agent and no server is away for so long that the run gives a node up. */
const patience = "20m"

/** Every limit there is, over the rounds; some nodes fail by themselves, and each kill interrupts some more. */
export function drawRun(random: SeededRandom, nodes: readonly ChaosNode[], secondsMax: number): DrawnRun {
  const kind = random.pick(kinds)
  const { length: count } = nodes
  const few = random.integer(1, Math.max(2, Math.ceil(count / 20)))
  const limits = {
    concurrency: random.integer(Math.ceil(count / 10), Math.ceil(count / 2)),
    errorLimit: kind === "limit" || kind === "strict" ? few : count,
    strict: kind === "strict",
    byRack: kind === "racks",
    unavailableLimit: kind === "unavailable" ? random.integer(2, Math.ceil(count / 4)) : undefined,
  }
  const failing = nodes.filter(() => random.chance(0.05)).map(({ name }) => name)
  const seconds = ((0.3 + 0.7 * random.next()) * secondsMax).toFixed(2)
  const aborts = kind === "finish" || kind === "kill"
  const abort = aborts ? { afterNodes: random.integer(1, Math.ceil(count / 2)), mode: kind } : undefined
  const file = `state-${random.integer(0, 1_000_000_000)}.txt`
  return { kind, limits, file, document: documentOf(file, seconds, failing), abort }
}

function documentOf(file: string, seconds: string, failing: readonly string[]): string {
  const note = (word: string): string => `echo ${word} "$SIGNALBOX_ATTEMPT" "$(date +%s%3N)" >> ${stepLog}`
  const script = [
    note("begin"),
    `echo "$SIGNALBOX_ATTEMPT" > ${file}`,
    `sleep ${seconds}`,
    note("end"),
    `case \${{ node.name }} in ${["none", ...failing].join("|")}) exit 1 ;; esac`,
  ].join("\n")
  return JSON.stringify({
    kind: "Workflow",
    name: "chaos",
    timeout: patience,
    startTimeout: patience,
    save: [file],
    rollback: "on-failure",
    steps: [{ name: "change", run: script }],
  })
}

/** Makes the run and follows it to its end; gives what was promised and not kept. */
export async function playRun(
  installation: TestInstallation,
  nodes: readonly ChaosNode[],
  { limits, document, file, abort }: DrawnRun,
): Promise<{ readonly id: string; readonly state: string; readonly faults: readonly string[] }> {
  const before = `as it was before ${performance.now()}\n`
  await Promise.all(nodes.map(({ root }) => writeFile(join(root, file), before)))
  const id = await createRun(installation, nodes, { limits, document })
  let isAborted = false
  let neverStartedAtStop: readonly string[] | undefined
  const ended = await installation.eventually(
    `${id} to end`,
    () =>
      patiently(async () => {
        const { client } = installation
        const run = await client.call(executionsGet, { execution: id })
        const begun = run.targets.count - run.counts.queued - run.counts.neverStarted
        if (abort && !isAborted && begun >= abort.afterNodes) {
          await client.call(executionsAbort, { execution: id, mode: abort.mode })
          isAborted = true
        }
        if (run.counts.neverStarted > 0 && neverStartedAtStop === undefined)
          neverStartedAtStop = (await allTasks(client, id))
            .filter(({ state }) => state === "never-started")
            .map(({ nodeName }) => nodeName)
        return run.finishedAt !== undefined && { run, tasks: await allTasks(client, id) }
      }),
    runEndMilliseconds,
  )
  const deadline = performance.now() + goBackMilliseconds
  for (;;) {
    const witnesses = await readWitnesses(nodes, id, file)
    const faults = judgeRun({ ...ended, limits, witnesses, before, neverStartedAtStop })
    if (faults.length === 0 || performance.now() > deadline) return { id, state: ended.run.state, faults }
    await delay(lookAgainMilliseconds)
  }
}

async function readWitnesses(nodes: readonly ChaosNode[], id: string, file: string): Promise<NodeWitness[]> {
  const evidence = await readNodesEvidence(nodes, id)
  return await Promise.all(
    nodes.map(async ({ rack, root }, index): Promise<NodeWitness> => {
      const one = evidence[index]
      if (!one) throw new Error("a node was not read")
      return { ...one, rack, content: await readFile(join(root, file), "utf8") }
    }),
  )
}

/** With one idempotency key, so that a call whose answer was lost makes no second run. */
async function createRun(
  installation: TestInstallation,
  nodes: readonly ChaosNode[],
  { limits, document }: Pick<DrawnRun, "limits" | "document">,
): Promise<string> {
  const { concurrency, errorLimit, strict, byRack, unavailableLimit } = limits
  const input = {
    document,
    targets: { nodes: nodes.map(({ name }) => name) },
    targetsMax: nodes.length,
    concurrency,
    errorLimit,
    strict,
    ...(byRack && { failureDomain: "rack" }),
    ...(unavailableLimit === undefined ? {} : { unavailableLimit }),
  }
  const idempotencyKey = crypto.randomUUID()
  return await installation.eventually(
    "a run to be made",
    () =>
      patiently(async () => {
        const reply = await installation.client.call(executionsCreate, input, { idempotencyKey })
        if (reply.status === "held") throw new Error("the run was held")
        return reply.value.id
      }),
    runEndMilliseconds,
  )
}

/** Whoever asks a server that was killed asks again. */
const patiently = <T>(ask: () => Promise<T>): Promise<T | undefined> => ask().catch(() => undefined)

async function allTasks(client: Client, execution: string): Promise<ToldTask[]> {
  const tasks: ToldTask[] = []
  for await (const { items } of client.pages(tasksList, { execution })) tasks.push(...items)
  return tasks
}
