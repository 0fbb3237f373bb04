import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { executionsCreate, executionsGet, tasksList } from "@signalbox/contracts/workflows/operations"
import type { OutputOf } from "@signalbox/contracts/operation"
import { overlapMax, type Span } from "../demo/availability.ts"
import { type JournalEntry, readNodeJournal } from "../demo/node-journal.ts"
import type { TestInstallation, TestNode } from "./processes.fixture.ts"

/** What a run did, from the nodes' own files: a log that only the steps write, and the agents' journals. */
export const stateFile = "state.txt"
export const stepLog = "steps.log"

type Execution = OutputOf<typeof executionsGet>
type Task = OutputOf<typeof tasksList>["items"][number]

/**
 * A step that changes a file and takes its time, telling in a log of its own when it begins and ends. On the nodes
 * named as stuck it would take minutes.
 */
export function slowStep(seconds: number, stuck: readonly string[] = []): string {
  const note = (word: string): string => `echo ${word} "$SIGNALBOX_ATTEMPT" "$(date +%s%3N)" >> ${stepLog}`
  return [
    note("begin"),
    `echo "$SIGNALBOX_ATTEMPT" > ${stateFile}`,
    `case \${{ node.name }} in ${["none", ...stuck].join("|")}) sleep 300 ;; *) sleep ${seconds} ;; esac`,
    note("end"),
  ].join("\n")
}

export interface NodeEvidence {
  readonly name: string
  readonly entries: readonly JournalEntry[]
  /** The attempts that a step began for, one for each time it did; those that it ended for. */
  readonly begun: readonly string[]
  readonly ended: readonly string[]
  /** From the beginning of each step to its end; where it was killed, to the end that the journal knows. */
  readonly spans: readonly Span[]
}

export async function startRun(
  installation: TestInstallation,
  input: Omit<Parameters<typeof createInput>[0], "targets"> & { readonly nodes: readonly string[] },
): Promise<string> {
  const { nodes, ...rest } = input
  const reply = await installation.client.call(
    executionsCreate,
    createInput({ ...rest, targets: { nodes: [...nodes] } }),
  )
  if (reply.status === "held") throw new Error("the run was held")
  return reply.value.id
}

function createInput(input: {
  readonly document: string
  readonly concurrency: number
  readonly errorLimit: number
  readonly targets: { nodes: string[] }
}) {
  return input
}

export function getRun(installation: TestInstallation, id: string): Promise<Execution> {
  return installation.client.call(executionsGet, { execution: id })
}

export async function waitForRunEnd(installation: TestInstallation, id: string, seconds = 45): Promise<Execution> {
  const ended = async () => {
    const execution = await getRun(installation, id)
    return execution.finishedAt !== undefined && execution
  }
  return await installation.eventually(`${id} to end`, ended, seconds * 1000)
}

export async function tasksByName(installation: TestInstallation, id: string): Promise<Map<string, Task>> {
  const { items } = await installation.client.call(tasksList, { execution: id })
  return new Map(items.map((task) => [task.nodeName, task]))
}

export function readEvidence(installation: TestInstallation, id: string): Promise<NodeEvidence[]> {
  return readNodesEvidence([...installation.nodes.values()], id)
}

export async function readNodesEvidence(
  nodes: ReadonlyArray<Pick<TestNode, "name" | "root" | "agentDirectory">>,
  id: string,
): Promise<NodeEvidence[]> {
  return await Promise.all(
    nodes.map(async ({ name, root, agentDirectory }) => {
      const entries = (await readNodeJournal(agentDirectory)).filter((entry) => entry.executionId === id)
      const text = await readFile(join(root, stepLog), "utf8").catch(() => "")
      const lines = text.split("\n").filter((line) => line.includes(id))
      const moments = lines.map((line) => {
        const [word = "", attempt = "", at = ""] = line.split(" ")
        return { word, attempt, at: Number(at) }
      })
      const begins = moments.filter(({ word }) => word === "begin")
      const ends = moments.filter(({ word }) => word === "end")
      const spans = begins.map(({ attempt, at }) => {
        const end = ends.find((moment) => moment.attempt === attempt)?.at
        return { from: at, to: end ?? entries.at(-1)?.taskEndedAt ?? at }
      })
      return { name, entries, begun: begins.map((one) => one.attempt), ended: ends.map((one) => one.attempt), spans }
    }),
  )
}

/** How many nodes had something under way at once, by the steps' clock and by the agents'; the larger one. */
export function mostAtOnce(evidence: readonly NodeEvidence[]): number {
  const bySteps = overlapMax(evidence.flatMap(({ spans }) => spans))
  const byJournals = overlapMax(evidence.flatMap(({ entries }) => entries.map(({ from, to }) => ({ from, to }))))
  return Math.max(bySteps, byJournals)
}

/** Nodes on which something of the run has begun. */
export function startedNames(evidence: readonly NodeEvidence[]): string[] {
  return evidence.filter(({ entries }) => entries.length > 0).map(({ name }) => name)
}
