import type { OutputOf } from "@signalbox/contracts/operation"
import { tasksGet, tasksList } from "@signalbox/contracts/workflows/operations"
import type { Client } from "@signalbox/sdk/client"
import { isFinished } from "./node-mark.ts"
import type { ExecutionUpdate } from "./rollout-fold.ts"

type TaskDetails = OutputOf<typeof tasksGet>
type TaskState = TaskDetails["state"]

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
  async of(update: ExecutionUpdate): Promise<TaskDetails[]> {
    return await this.fetch(update.tasks.filter(wasTried).map(({ ordinal }) => ordinal))
  }

  /** At the end of the run: whatever no message told of, since a message has a limit too. */
  async *rest(): AsyncGenerator<TaskDetails[]> {
    for await (const page of this.client.pages(tasksList, { execution: this.execution, limit: 1000 })) {
      yield await this.fetch(page.items.filter(wasTried).map(({ ordinal }) => ordinal))
    }
  }

  private async fetch(ordinals: readonly number[]): Promise<TaskDetails[]> {
    const wanted = ordinals.filter((ordinal) => !this.fetched.has(ordinal))
    const tasks: TaskDetails[] = []
    for (let start = 0; start < wanted.length; start += callsMax) {
      const calls = wanted
        .slice(start, start + callsMax)
        .map((ordinal) => this.client.call(tasksGet, { execution: this.execution, task: String(ordinal) }))
      tasks.push(...(await Promise.all(calls)))
    }
    for (const ordinal of wanted) this.fetched.add(ordinal)
    return tasks
  }
}

/** Ended, and something was asked of the node. */
function wasTried({ state }: { readonly state: TaskState }): boolean {
  return isFinished(state) && state !== "never-started" && state !== "skipped"
}
