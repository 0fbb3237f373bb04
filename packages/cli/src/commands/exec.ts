import type { executionsCreate } from "@signalbox/contracts/workflows/operations"
import { executionsCreateRoute } from "@signalbox/contracts/workflows/routes"
import { AppError } from "@signalbox/kernel/app-error"
import type { Command } from "commander"
import { addCommand, type CommandContext, type CommandFrame, onRun, printJson, textOption } from "../command.ts"
import { exitCodes } from "../exit-codes.ts"
import { print, printLine } from "../io.ts"
import { followExecution } from "../rollout/follow-execution.ts"
import { FinishedTasks, type FinishedTask } from "../rollout/finished-tasks.ts"
import { renderNodeOutput } from "../output/render-node-output.ts"
import { showHeld } from "../output/show-held.ts"
import { conclusion, exitCodeOfExecution } from "../rollout/conclusion.ts"
import { addRunOptions, readRunOptions } from "./run-options.ts"

export function addExec(program: Command, frame: CommandFrame): void {
  const command = addCommand(program, "exec [argv...]", "Run one command on nodes and show what it prints")
    .usage("[options] -- COMMAND [ARGUMENT...]")
    .option("--shell <text>", "a text for /bin/sh instead of a command and its arguments")
    .option("--user <name>", "the user to run it as")
    .option("--timeout <duration>", "kill it after so long, as in 30s")
  addRunOptions(command)
  onRun(command, frame, { run: exec })
}

async function exec(context: CommandContext): Promise<number> {
  const { io } = context
  const input = { document: commandDocument(context), ...readRunOptions(context) }
  const client = await context.client()
  const reply = await client.call<typeof executionsCreate>(executionsCreateRoute, input)
  if (reply.status === "held") return await showHeld(context, reply.requestUrl)
  const executionId = reply.value.id
  const finished = new FinishedTasks(client, executionId)
  const stop = new AbortController()
  const release = io.onInterrupt(() => stop.abort())
  const show = async (tasks: readonly FinishedTask[]) => {
    const forTerminal = io.stdout.isTTY === true
    const texts = tasks.map((task) =>
      context.json ? `${JSON.stringify(task)}\n` : renderNodeOutput(task, { forTerminal }),
    )
    await print(io.stdout, texts.join(""))
  }
  try {
    const execution = await followExecution(client, {
      executionId,
      outcomes: true,
      signal: stop.signal,
      onUpdate: async (update) => show(await finished.of(update)),
    })
    for await (const tasks of finished.rest(execution)) await show(tasks)
    if (context.json) await printJson(io, execution)
    else await printLine(io.stderr, conclusion(execution))
    return exitCodeOfExecution(execution)
  } catch (error) {
    if (!stop.signal.aborted) throw error
    await printLine(
      io.stderr,
      `left ${executionId} running; stop it with \`signalbox executions abort ${executionId}\``,
    )
    return exitCodes.interrupted
  } finally {
    release()
  }
}

/** The same engine as any workflow: a document with one step. JSON is YAML. */
function commandDocument(context: CommandContext): string {
  const argv = context.words[0] as string[]
  const shell = textOption(context, "shell")
  if (argv.length > 0 === (shell !== undefined)) {
    throw new AppError("cli.usage", "give a command after --, or a text with --shell")
  }
  const user = textOption(context, "user")
  const timeout = textOption(context, "timeout")
  const step = {
    name: (shell ?? argv.join(" ")).replaceAll("${{", "{").replaceAll(/\s+/g, " ").slice(0, 60).trim() || "command",
    run: shell ?? argv,
    ...(user === undefined ? {} : { user }),
    ...(timeout === undefined ? {} : { timeout }),
    outputLimit: "1MiB",
  }
  return JSON.stringify({ kind: "Workflow", name: "exec", steps: [step] })
}
