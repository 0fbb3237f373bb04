import { executionsGet, tasksList } from "@signalbox/contracts/workflows/operations"
import type { Client } from "@signalbox/sdk/client"
import type { CommandContext } from "../command.ts"
import { exitCodes } from "../exit-codes.ts"
import { hasColour, print, printLine } from "../io.ts"
import { fit } from "../output/table.ts"
import { followExecution } from "./follow-execution.ts"
import { conclusion, exitCodeOfExecution } from "./conclusion.ts"
import { PlainRollout } from "./plain-rollout.ts"
import { renderRollout } from "./render-rollout.ts"
import { type Execution, type ExecutionUpdate, finishedCountOf, RolloutFold } from "./rollout-fold.ts"

const redrawMilliseconds = 100
/** What a stream's first message has. */
const historyPageItems = 1000
const historyPagesMax = 100
/** The cursor's line below the picture. */
const rowsReserved = 1

export interface WatchedExecution {
  readonly executionId: string
  /** With the nodes' output. */
  readonly output: boolean
}

/** Shows a run until it ends; Ctrl-C leaves it running. Returns the exit code. */
export async function watchExecution(context: CommandContext, watched: WatchedExecution): Promise<number> {
  const { io } = context
  const shown = context.json
    ? jsonLines(context)
    : io.stdout.isTTY === true
      ? await livePicture(context)
      : plainLines(context)
  const stop = new AbortController()
  const release = io.onInterrupt(() => stop.abort())
  try {
    const client = await context.client()
    if (shown.wantsHistory) await tellHistory(client, watched.executionId, shown)
    const execution = await followExecution(client, {
      ...watched,
      signal: stop.signal,
      onUpdate: shown.update,
      onLost: shown.lost,
    })
    await shown.end(execution)
    if (!context.json) for (const line of whatNext(execution)) await printLine(io.stderr, line)
    return exitCodeOfExecution(execution)
  } catch (error) {
    await shown.end(undefined)
    if (!stop.signal.aborted) throw error
    const { executionId: id } = watched
    await printLine(io.stderr, `left ${id} running; see it with \`signalbox executions watch ${id}\`,`)
    await printLine(io.stderr, `stop it with \`signalbox executions abort ${id}\``)
    return exitCodes.interrupted
  } finally {
    release()
  }
}

/** For whoever has just seen a run go wrong. */
function whatNext({ id, state, strategy, rollbackOf, counts }: Execution): string[] {
  if (state === "succeeded") return []
  return [
    ...(state === "failed" && strategy.rollback === "all" && rollbackOf === undefined
      ? [`what had succeeded is put back by another execution; \`signalbox executions get ${id}\` names it`]
      : []),
    `see \`signalbox why ${id}\`${counts.failed > 0 ? `; \`signalbox executions retry ${id}\` tries what failed again` : ""}`,
  ]
}

/** A stream begins with the first tasks only; of a bigger run that has gone on for a while, the others are read. */
async function tellHistory(client: Client, executionId: string, shown: Shown): Promise<void> {
  const execution = await client.call(executionsGet, { execution: executionId })
  if (finishedCountOf(execution) === 0 || execution.targets.count <= historyPageItems) return
  let pages = 0
  for await (const page of client.pages(tasksList, { execution: executionId, limit: historyPageItems })) {
    await shown.update({ execution, tasks: page.items, output: [] })
    pages += 1
    if (pages >= historyPagesMax) return
  }
}

interface Shown {
  /** True where tasks that ended before this has begun are to be seen too. */
  readonly wantsHistory?: true
  readonly update: (update: ExecutionUpdate) => Promise<void>
  readonly lost: (message: string) => void
  /** Undefined where the run was left before its end. */
  readonly end: (execution: Execution | undefined) => Promise<void>
}

function jsonLines({ io }: CommandContext): Shown {
  return {
    update: (update) => printLine(io.stdout, JSON.stringify(update)),
    lost: () => undefined,
    end: async () => undefined,
  }
}

function plainLines({ io }: CommandContext): Shown {
  const plain = new PlainRollout()
  return {
    update: async (update) =>
      print(
        io.stdout,
        plain
          .lines(update)
          .map((line) => `${line}\n`)
          .join(""),
      ),
    lost: (message) => void io.stderr.write(`${message}; trying again\n`),
    end: async (execution) => {
      if (execution) await printLine(io.stdout, conclusion(execution))
    },
  }
}

/** Drawn again at most ten times a second, and at least once for the clock. */
async function livePicture({ io }: CommandContext): Promise<Shown> {
  const { createLogUpdate } = await import("log-update")
  const { stdout, environment } = io
  const picture = createLogUpdate(stdout as NodeJS.WriteStream)
  const fold = new RolloutFold()
  const colour = hasColour(stdout, environment)
  let lost: string | undefined
  const draw = () => {
    const view = fold.view(Date.now())
    if (!view) return
    const columns = stdout.columns ?? 80
    const rows = Math.max(4, (stdout.rows ?? 24) - rowsReserved - (lost ? 1 : 0))
    const rest = lost ? `\n${fit(`${lost}; trying again`, columns)}` : ""
    picture(renderRollout(view, { columns, rows, colour }) + rest)
  }
  const timer = setInterval(draw, redrawMilliseconds)
  return {
    wantsHistory: true,
    update: async (update) => {
      lost = undefined
      fold.apply(update, Date.now())
    },
    lost: (message) => (lost = message),
    end: async (execution) => {
      clearInterval(timer)
      draw()
      picture.done()
      if (execution) await printLine(stdout, conclusion(execution))
    },
  }
}
