/**
 * Follows executions for `executions.watch`. What changed is read from the execution's own events, so it is the same on
 * every server; the owner's commits are only a hint to look sooner, and a scan finds what was not hinted. Progress and
 * output of running tasks are seen on the server that owns the execution, are kept for a moment, and may be dropped.
 */
import type { executionUpdate } from "@signalbox/contracts/workflows/operations"
import { isExecutionEnded } from "@signalbox/engine/execution-machine"
import { AppError } from "@signalbox/kernel/app-error"
import type { z } from "zod"
import type { StreamMessage } from "../../router/handler.ts"
import type { ExecutorReport } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import { findExecution, listProgress, listTasks, listTasksOf, type ExecutionRow } from "./execution-store.ts"
import { toExecution, toTaskDetails, type TaskDetails } from "./presentation.ts"
import { ordinalsOf } from "./progress-event.ts"

export type ExecutionUpdate = z.output<typeof executionUpdate>

/** At most five messages a second for each follower, but for the last and for what doesn't fit into one. */
export const messageMilliseconds = 200
/** How soon a change is seen that another server made. */
export const scanMilliseconds = 500
/** Tasks in one message; further changes come with the next. */
export const tasksPerMessage = 1_000
/** With outcomes: a message has 16 million characters at most, an outcome 64 thousand. */
export const outcomesPerMessage = 200
export const eventsPerMessage = 200
export const outputLengthMax = 256 * 1024
export const followersMax = 1_000

interface Live {
  readonly step: string
  readonly progress?: number
}

interface Follower {
  readonly execution: string
  readonly withOutput: boolean
  readonly live: Map<number, Live>
  output: ExecutionUpdate["output"]
  outputLength: number
  changed: boolean
  /** Known of an execution that this server owns. */
  ended: boolean
  wake: (() => void) | undefined
}

export interface FollowOptions {
  readonly sql: Sql
  readonly account: string
  readonly execution: string
  readonly withOutput: boolean
  readonly withOutcomes: boolean
  readonly signal: AbortSignal
}

export class Watches {
  readonly #followers = new Set<Follower>()
  readonly #onFollow: (executionId: string) => void
  #closed = false

  /** `onFollow` is told of each execution that somebody begins to follow. */
  constructor(onFollow: (executionId: string) => void = () => undefined) {
    this.#onFollow = onFollow
  }

  /** The executions that are followed now; one for each follower. */
  followed(): string[] {
    return [...this.#followers].map(({ execution }) => execution)
  }

  /** The owner committed a batch of this execution. */
  hear(executionId: string): void {
    for (const follower of this.#followers) {
      if (follower.execution !== executionId) continue
      follower.changed = true
      follower.wake?.()
    }
  }

  /** All of this execution is committed. */
  hearEnd(executionId: string): void {
    for (const follower of this.#followers) {
      if (follower.execution !== executionId) continue
      follower.ended = true
      follower.changed = true
      follower.wake?.()
    }
  }

  hearLive(executionId: string, ordinal: number, report: ExecutorReport): void {
    for (const follower of this.#followers) {
      if (follower.execution !== executionId) continue
      if (report.type === "progress") {
        const { name, percent } = report
        follower.live.set(ordinal, { step: name, ...(percent === undefined ? {} : { progress: percent }) })
      } else if (report.type === "output" && follower.withOutput && follower.outputLength < outputLengthMax) {
        follower.output.push({ ordinal, step: report.step, stream: report.stream, text: report.text })
        follower.outputLength += report.text.length
      } else continue
      follower.changed = true
      follower.wake?.()
    }
  }

  /** Ends all followers. */
  close(): void {
    this.#closed = true
    for (const follower of this.#followers) follower.wake?.()
  }

  /** First the execution and its first tasks, then what changed, until it ends. @throws executions.not-found */
  async *follow(options: FollowOptions): AsyncGenerator<StreamMessage<ExecutionUpdate>> {
    if (this.#followers.size >= followersMax)
      throw new AppError("request.rate-limited", `${followersMax} followers are the most that one server has`)
    const { sql, account, execution, signal, withOutcomes } = options
    const tasksMax = withOutcomes ? outcomesPerMessage : tasksPerMessage
    const follower: Follower = {
      execution,
      withOutput: options.withOutput,
      live: new Map(),
      output: [],
      outputLength: 0,
      changed: false,
      ended: false,
      wake: undefined,
    }
    this.#followers.add(follower)
    this.#onFollow(execution)
    const onAbort = (): void => follower.wake?.()
    signal.addEventListener("abort", onAbort)
    try {
      let row = await getRow(options)
      const first = await listTasks(sql, { account, execution, after: -1, limit: tasksMax, withOutcomes })
      yield toMessage(
        row,
        first.map((task) => toTaskDetails(execution, task)),
        follower,
      )
      const pending = new Set<number>()
      let seen = row.version
      let asked = askedOf(row)
      // Ended for a follower is: the row has ended, and the last of its events has been told.
      while (!isExecutionEnded(row.shown) || seen < row.version || pending.size > 0) {
        await this.#waitForChange(follower, signal)
        if (signal.aborted || this.#closed) return
        const progress = await listProgress(sql, { execution, account, after: seen, limit: eventsPerMessage })
        seen = progress.at(-1)?.version ?? seen
        for (const { data } of progress) for (const ordinal of ordinalsOf(data)) pending.add(ordinal)
        for (const ordinal of follower.live.keys()) pending.add(ordinal)
        if (progress.length === eventsPerMessage) follower.changed = true
        row = await getRow(options)
        const isNews = askedOf(row) !== asked
        asked = askedOf(row)
        if (progress.length === 0 && pending.size === 0 && follower.output.length === 0 && !isNews) {
          if (isExecutionEnded(row.shown)) return
          continue
        }
        const ordinals = [...pending].slice(0, tasksMax)
        for (const ordinal of ordinals) pending.delete(ordinal)
        const tasks = await listTasksOf(sql, { account, execution, ordinals, withOutcomes })
        yield toMessage(
          row,
          tasks.map((task) => toTaskDetails(execution, task)),
          follower,
        )
        if (pending.size > 0) follower.changed = true
        // Of many tasks so many a second, whatever a message holds.
        const share = pending.size > 0 ? ordinals.length / tasksPerMessage : 1
        if (!isExecutionEnded(row.shown))
          await this.#pause(follower, { signal, milliseconds: messageMilliseconds * share })
      }
    } finally {
      signal.removeEventListener("abort", onAbort)
      this.#followers.delete(follower)
    }
  }

  async #waitForChange(follower: Follower, signal: AbortSignal): Promise<void> {
    if (!follower.changed && !signal.aborted && !this.#closed) await sleep(follower, scanMilliseconds)
    follower.changed = false
  }

  /** Keeps to the pace of messages; of an execution that has ended the rest is told at once. */
  async #pause(follower: Follower, of: { signal: AbortSignal; milliseconds: number }): Promise<void> {
    const { signal } = of
    const until = performance.now() + of.milliseconds
    while (!follower.ended && !signal.aborted && !this.#closed) {
      const left = until - performance.now()
      if (left <= 0) return
      await sleep(follower, left)
    }
  }
}

/** Until the follower is woken, or for so long. */
async function sleep(follower: Follower, milliseconds: number): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, milliseconds)
    follower.wake = () => {
      clearTimeout(timer)
      resolve()
    }
  })
  follower.wake = undefined
}

/** What tasks wait for people about: no event of the execution tells of it. */
const askedOf = ({ approvals }: ExecutionRow): string => (approvals ?? []).map(({ request }) => request).join()

async function getRow({ sql, account, execution }: FollowOptions): Promise<ExecutionRow> {
  const row = await findExecution(sql, account, execution)
  if (!row) throw new AppError("executions.not-found", `there is no execution "${execution}" in this account`)
  return row
}

/** Takes the follower's live findings into the message and empties them. */
function toMessage(
  row: ExecutionRow,
  tasks: readonly TaskDetails[],
  follower: Follower,
): StreamMessage<ExecutionUpdate> {
  const data: ExecutionUpdate = {
    execution: toExecution(row),
    tasks: tasks.map((task) => ({ ...task, ...follower.live.get(task.ordinal) })),
    output: follower.output,
  }
  for (const { ordinal } of tasks) follower.live.delete(ordinal)
  follower.output = []
  follower.outputLength = 0
  return { id: String(row.version), data }
}
