/**
 * Judges a run from outside the server: by the agents' journals, by the log that only steps write, and by the files that they
 * change. What the server says is compared with these, never taken for them. Pure.
 */
import { overlapMax, type Span } from "../../demo/availability.ts"
import type { NodeEvidence } from "../run-evidence.fixture.ts"

/** What a node has to say of a run. */
export interface NodeWitness extends NodeEvidence {
  readonly rack: string
  /** The content of the file that the step changes, now. */
  readonly content: string
}

export interface RunLimits {
  readonly concurrency: number
  readonly errorLimit: number
  readonly strict: boolean
  /** Never two of one rack at once. */
  readonly byRack: boolean
  readonly unavailableLimit: number | undefined
}

export interface ToldTask {
  readonly nodeName: string
  readonly state: string
  readonly rollback: string
  readonly attempt: number
}

export interface ToldRun {
  readonly state: string
  readonly finishedAt?: string | undefined
  readonly counts: Readonly<Record<string, number>>
}

export interface JudgedRun {
  readonly limits: RunLimits
  readonly run: ToldRun
  readonly tasks: readonly ToldTask[]
  readonly witnesses: readonly NodeWitness[]
  /** The content before the run. */
  readonly before: string
  /** Nodes that were told as never started when the run's stop was first seen; undefined where none was. */
  readonly neverStartedAtStop: readonly string[] | undefined
}

const taskEnds = new Set(["succeeded", "failed", "aborted", "interrupted", "unreachable", "skipped", "never-started"])
const runEnds = new Set(["succeeded", "incomplete", "failed", "aborted"])
const failures = new Set(["failed", "interrupted"])
const forEver = Number.MAX_SAFE_INTEGER

/** What was promised and not kept, one sentence each; empty where all is well. */
export function judgeRun(judged: JudgedRun): string[] {
  const { run, tasks, witnesses, neverStartedAtStop } = judged
  const faults: string[] = []
  if (!runEnds.has(run.state) || run.finishedAt === undefined) faults.push(`the run has not ended: ${run.state}`)
  const byName = new Map(tasks.map((task) => [task.nodeName, task]))
  if (byName.size !== witnesses.length || tasks.length !== witnesses.length)
    faults.push(`${tasks.length} tasks of ${byName.size} nodes are told, there are ${witnesses.length}`)
  for (const witness of witnesses) {
    const task = byName.get(witness.name)
    const found = task ? judgeNode(task, witness, judged) : ["has no task"]
    if (neverStartedAtStop?.includes(witness.name) && witness.entries.length > 0) found.push("started after the stop")
    faults.push(...found.map((fault) => `${witness.name} ${fault}`))
  }
  return [...faults, ...judgeCounts(judged), ...judgeLimits(judged)]
}

/** What the server calls a task of which it had no word in time, as after an abort that killed. */
const givenUp = new Set(["unreachable", "interrupted"])

function judgeNode(task: ToldTask, witness: NodeWitness, { before }: JudgedRun): string[] {
  const { entries, begun, content } = witness
  const faults: string[] = []
  const last = entries.at(-1)
  const hold = (holds: boolean, fault: string): void => void (holds || faults.push(fault))
  hold(taskEnds.has(task.state), `has not ended: ${task.state}`)
  hold(new Set(begun).size === begun.length, `ran an attempt twice: ${begun.join(" ")}`)
  hold(!entries.some(({ ranTwice }) => ranTwice), "ran an attempt twice by its journal")
  hold(entries.length <= task.attempt, `has ${entries.length} attempts on record, ${task.attempt} are told`)
  if (task.state === "never-started") hold(entries.length === 0, "started, and is told as never started")
  if (entries.length === 0) hold(begun.length === 0, "ran what its journal does not know")
  // Whoever was given up and had ended otherwise has gone back (I29); of an order that never began nothing is to be said.
  const wentBack = givenUp.has(task.state) && last?.rollback === "rolled-back"
  hold(last?.state === task.state || wentBack || begun.length === 0, `ended ${last?.state}, told is ${task.state}`)
  if (task.state === "succeeded") {
    hold(begun.length === 1 && content === `${begun[0]}\n`, `holds ${JSON.stringify(content)} of ${begun.join(" ")}`)
  } else {
    hold(content === before, `is told as ${task.state}, ${task.rollback} and holds ${JSON.stringify(content)}`)
    if (task.rollback === "rolled-back") hold(last?.rollback === "rolled-back", "was not rolled back by its journal")
  }
  return faults
}

/** The counts of the run are those of its tasks. */
function judgeCounts({ run, tasks }: JudgedRun): string[] {
  const names = { succeeded: "succeeded", failed: "failed", interrupted: "interrupted", aborted: "aborted" }
  const wanted = Object.entries({ ...names, neverStarted: "never-started", unreachable: "unreachable" })
  return wanted.flatMap(([name, state]) => {
    const count = tasks.filter((task) => task.state === state).length
    return run.counts[name] === count ? [] : [`${run.counts[name]} ${name} are told, ${count} tasks are`]
  })
}

/** Limits by the nodes' own stamps: from the order's arrival there to its end, or the end of its rollback. */
function judgeLimits({ limits, tasks, witnesses }: JudgedRun): string[] {
  const states = new Map(tasks.map(({ nodeName, state }) => [nodeName, state]))
  const faults: string[] = []
  const atMost = (what: string, limit: number, spans: readonly Span[]): void => {
    const most = overlapMax(spans)
    if (most > limit) faults.push(`${most} ${what}, the limit is ${limit}`)
  }
  const inFlight = witnesses.flatMap(spansOf)
  atMost("in flight at once", limits.concurrency, inFlight)
  if (limits.byRack)
    for (const rack of new Set(witnesses.map((one) => one.rack)))
      atMost(`of ${rack} at once`, 1, witnesses.filter((one) => one.rack === rack).flatMap(spansOf))
  // Whoever failed counts for ever, by the strict bound; by that of the unavailable ones until it is put back.
  const lasting = (stays: (witness: NodeWitness) => boolean): Span[] =>
    witnesses.flatMap((one) => spansOf(one).map((span) => (stays(one) ? { ...span, to: forEver } : span)))
  if (limits.strict)
    atMost(
      "in flight or failed",
      limits.errorLimit + 1,
      lasting(({ name }) => failures.has(states.get(name) ?? "")),
    )
  if (limits.unavailableLimit !== undefined) {
    const isLost = ({ entries }: NodeWitness): boolean =>
      entries.at(-1)?.state !== "succeeded" && entries.at(-1)?.rollback !== "rolled-back"
    atMost("unavailable at once", limits.unavailableLimit, lasting(isLost))
  }
  return faults
}

/** One a node, from its first sign to its last. */
function spansOf({ entries, spans }: NodeEvidence): Span[] {
  const all = [...entries.map(({ from, to }) => ({ from, to })), ...spans]
  if (all.length === 0) return []
  return [{ from: Math.min(...all.map(({ from }) => from)), to: Math.max(...all.map(({ to }) => to)) }]
}
