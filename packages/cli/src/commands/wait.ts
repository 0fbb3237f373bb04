import type { Command } from "commander"
import { getDuration } from "@signalbox/kernel/duration"
import { AppError } from "@signalbox/kernel/app-error"
import { addCommand, type CommandContext, type CommandFrame, onRun, textOption } from "../command.ts"
import { exitCodes } from "../exit-codes.ts"
import { followExecution } from "../rollout/follow-execution.ts"
import { conclusion, exitCodeOfExecution } from "../rollout/conclusion.ts"

const timeoutDaysMax = 24

export function addWait(program: Command, frame: CommandFrame): void {
  const command = addCommand(
    program,
    "wait <execution>",
    "Wait until an execution ends; its success is the exit code",
  ).option("--timeout <duration>", "give up waiting after so long, as in 10m; the run goes on")
  onRun(command, frame, { run: wait })
}

async function wait(context: CommandContext): Promise<number> {
  const executionId = context.words[0] as string
  const timeout = textOption(context, "timeout")
  const timeoutMilliseconds = timeout === undefined ? undefined : getDuration(timeout)
  // A longer timer would fire at once.
  if (timeoutMilliseconds !== undefined && timeoutMilliseconds > timeoutDaysMax * 86_400_000)
    throw new AppError("cli.usage", `--timeout takes at most ${timeoutDaysMax}d, not ${timeout}`)
  const interrupted = new AbortController()
  const release = context.io.onInterrupt(() => interrupted.abort())
  const late = timeoutMilliseconds === undefined ? undefined : AbortSignal.timeout(timeoutMilliseconds)
  const signal = late === undefined ? interrupted.signal : AbortSignal.any([interrupted.signal, late])
  try {
    const client = await context.client()
    const execution = await followExecution(client, { executionId, output: false, signal, onUpdate: () => undefined })
    await context.show(execution, () => `${conclusion(execution)}\n`)
    return exitCodeOfExecution(execution)
  } catch (error) {
    if (interrupted.signal.aborted) return exitCodes.interrupted
    if (late?.aborted)
      throw new AppError("cli.timeout", `${executionId} has not ended within ${timeout}`, { cause: error })
    throw error
  } finally {
    release()
  }
}
