import type { OutputOf } from "@signalbox/contracts/operation"
import type { tasksGet, tasksList, tasksOutput } from "@signalbox/contracts/workflows/operations"
import { tasksGetRoute, tasksListRoute, tasksOutputRoute } from "@signalbox/contracts/workflows/routes"
import type { Client } from "@signalbox/sdk/client"
import { isFinished, type TaskUpdate } from "./node-mark.ts"
import type { Execution, ExecutionUpdate } from "./rollout-fold.ts"

type TaskDetails = OutputOf<typeof tasksGet>
type TaskState = TaskDetails["state"]
export type OutputPart = OutputOf<typeof tasksOutput>["items"][number]

/** A task with all that is kept of its output, where the task itself shows only head and tail. */
export type FinishedTask = TaskDetails & { readonly output?: readonly OutputPart[] }

/** Calls at once for what a message doesn't hold. */
const callsMax = 8

/**
 * Each task of a run once, when it has ended, with its kept output. The messages of `executions.watch` with outcomes
 * bring it; what they cut, or told before this follower came, is fetched.
 */
export class FinishedTasks {
  private readonly client: Client
  private readonly execution: string
  private readonly told = new Set<number>()

  constructor(client: Client, execution: string) {
    this.client = client
    this.execution = execution
  }

  /** Those that this message tells the end of. */
  async of(update: ExecutionUpdate): Promise<FinishedTask[]> {
    return await this.take(update.tasks, async (task) => await this.withOutput(withoutProgress(task)))
  }

  /** At the end of the run: whatever no message told of, since the first has a limit too. */
  async *rest({ counts }: Execution): AsyncGenerator<FinishedTask[]> {
    const { succeeded, failed, aborted, interrupted, unreachable } = counts
    if (this.told.size >= succeeded + failed + aborted + interrupted + unreachable) return
    const { client, execution } = this
    for await (const page of client.pages<typeof tasksList>(tasksListRoute, { execution, limit: 1000 })) {
      yield await this.take(page.items, async ({ ordinal }) => {
        const place = { execution, task: String(ordinal) }
        return await this.withOutput(await client.call<typeof tasksGet>(tasksGetRoute, place))
      })
    }
  }

  private async take<Task extends { readonly ordinal: number; readonly state: TaskState }>(
    tasks: readonly Task[],
    complete: (task: Task) => Promise<FinishedTask>,
  ): Promise<FinishedTask[]> {
    const wanted = tasks.filter((task) => wasTried(task) && !this.told.has(task.ordinal))
    const finished: FinishedTask[] = []
    for (let start = 0; start < wanted.length; start += callsMax) {
      finished.push(...(await Promise.all(wanted.slice(start, start + callsMax).map(complete))))
    }
    for (const { ordinal } of wanted) this.told.add(ordinal)
    return finished
  }

  private async withOutput(task: TaskDetails): Promise<FinishedTask> {
    const isCut = task.outcome?.steps.some(
      ({ stdout, stderr }) => stdout?.truncated === true || stderr?.truncated === true,
    )
    if (isCut !== true) return task
    const place = { execution: this.execution, task: String(task.ordinal) }
    const output: OutputPart[] = []
    let cursor: string | undefined
    do {
      const input = { ...place, ...(cursor === undefined ? {} : { cursor }) }
      const page = await this.client.call<typeof tasksOutput>(tasksOutputRoute, input)
      output.push(...page.items)
      cursor = page.nextCursor
    } while (cursor !== undefined)
    return { ...task, output: joinParts(output) }
  }
}

function withoutProgress({ step: _step, progress: _progress, ...task }: TaskUpdate): TaskDetails {
  return task
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
