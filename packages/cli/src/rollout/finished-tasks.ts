import type { OutputOf } from "@signalbox/contracts/operation"
import { tasksGet, tasksList, tasksOutput } from "@signalbox/contracts/workflows/operations"
import type { Client } from "@signalbox/sdk/client"
import { isFinished } from "./node-mark.ts"
import type { ExecutionUpdate } from "./rollout-fold.ts"

type TaskDetails = OutputOf<typeof tasksGet>
type TaskState = TaskDetails["state"]
export type OutputPart = OutputOf<typeof tasksOutput>["items"][number]

/** A task with all that is kept of its output, where the task itself shows only head and tail. */
export type FinishedTask = TaskDetails & { readonly output?: readonly OutputPart[] }

/** Calls at once for the details of tasks that ended. */
const callsMax = 8

/**
 * Fetches each task of a run once, when it has ended, with its kept output. What `executions.watch` streams of the
 * output is a sample for people to look at; this is the record.
 */
export class FinishedTasks {
  private readonly client: Client
  private readonly execution: string
  private readonly fetched = new Set<number>()

  constructor(client: Client, execution: string) {
    this.client = client
    this.execution = execution
  }

  /** Those that this message tells the end of. */
  async of(update: ExecutionUpdate): Promise<FinishedTask[]> {
    return await this.fetch(update.tasks.filter(wasTried).map(({ ordinal }) => ordinal))
  }

  /** At the end of the run: whatever no message told of, since a message has a limit too. */
  async *rest(): AsyncGenerator<FinishedTask[]> {
    for await (const page of this.client.pages(tasksList, { execution: this.execution, limit: 1000 })) {
      yield await this.fetch(page.items.filter(wasTried).map(({ ordinal }) => ordinal))
    }
  }

  private async fetch(ordinals: readonly number[]): Promise<FinishedTask[]> {
    const wanted = ordinals.filter((ordinal) => !this.fetched.has(ordinal))
    const tasks: FinishedTask[] = []
    for (let start = 0; start < wanted.length; start += callsMax) {
      const calls = wanted.slice(start, start + callsMax).map((ordinal) => this.fetchTask(ordinal))
      tasks.push(...(await Promise.all(calls)))
    }
    for (const ordinal of wanted) this.fetched.add(ordinal)
    return tasks
  }

  private async fetchTask(ordinal: number): Promise<FinishedTask> {
    const place = { execution: this.execution, task: String(ordinal) }
    const task = await this.client.call(tasksGet, place)
    const isCut = task.outcome?.steps.some(
      ({ stdout, stderr }) => stdout?.truncated === true || stderr?.truncated === true,
    )
    if (isCut !== true) return task
    const output: OutputPart[] = []
    let cursor: string | undefined
    do {
      const page = await this.client.call(tasksOutput, { ...place, ...(cursor === undefined ? {} : { cursor }) })
      output.push(...page.items)
      cursor = page.nextCursor
    } while (cursor !== undefined)
    return { ...task, output: joinParts(output) }
  }
}

/** Ended, and something was asked of the node. */
function wasTried({ state }: { readonly state: TaskState }): boolean {
  return isFinished(state) && state !== "never-started" && state !== "skipped"
}

/** The pages cut streams where they are full. */
function joinParts(parts: readonly OutputPart[]): OutputPart[] {
  const joined: OutputPart[] = []
  for (const part of parts) {
    const last = joined.at(-1)
    if (last && last.step === part.step && last.stream === part.stream)
      joined[joined.length - 1] = { ...last, text: last.text + part.text }
    else joined.push(part)
  }
  return joined
}
