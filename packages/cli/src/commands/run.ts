import { executionsCreate, executionsPlan } from "@signalbox/contracts/workflows/operations"
import type { Command } from "commander"
import { addCommand, type CommandContext, type CommandFrame, onRun, printJson } from "../command.ts"
import { readRecord } from "../generated/field-option.ts"
import { readInputFile } from "../input-file.ts"
import { exitCodes } from "../exit-codes.ts"
import { showHeld } from "../output/show-held.ts"
import { renderPlan } from "../output/render-plan.ts"
import { renderExecution } from "../output/render-execution.ts"
import { watchExecution } from "../rollout/watch-execution.ts"
import { addRunOptions, collect, readRunOptions } from "./run-options.ts"
import { AppError } from "@signalbox/kernel/app-error"

/** Above so many nodes a watched run doesn't fetch the nodes' output. */
const nodesWithOutputMax = 500

export function addRun(program: Command, frame: CommandFrame): void {
  const command = addCommand(program, "run [workflow]", "Run a workflow over nodes")
    .option("-f, --file <file>", "a workflow document to run instead of a stored one; - for standard input")
    .option("--workflow-version <number>", "a version of the workflow; the newest where it is left out")
    .option("-p, --parameter <name=value>", "a parameter of the workflow (repeatable)", collect)
    .option("--plan", "only show what the run would do, and its digest")
    .option("-w, --watch", "show the run until it ends; Ctrl-C leaves it running")
  addRunOptions(command)
  onRun(command, frame, { run })
}

async function run(context: CommandContext): Promise<number | void> {
  const { options } = context
  const input = {
    ...(await readSource(context)),
    ...readRunOptions(context),
    parameters: readRecord((options["parameter"] as string[] | undefined) ?? [], "--parameter"),
  }
  const client = await context.client()
  if (options["plan"] === true) {
    const { note: _, planDigest: __, ...asked } = input
    const plan = await client.call(executionsPlan, asked)
    await context.show(plan, (columns) => renderPlan(plan, columns))
    return plan.blastRadius.verdict === "within" ? undefined : exitCodes.negative
  }
  const reply = await client.call(executionsCreate, input)
  if (reply.status === "held") return await showHeld(context, reply.requestUrl)
  const execution = reply.value
  if (options["watch"] !== true) {
    await context.show(execution, (columns) => renderExecution(execution, columns))
    return
  }
  const output = execution.targets.count <= nodesWithOutputMax
  if (context.json) await printJson(context.io, { execution, tasks: [], output: [] })
  return await watchExecution(context, { executionId: execution.id, output })
}

async function readSource(
  context: CommandContext,
): Promise<{ workflow?: string; version?: number; document?: string }> {
  const [workflow] = context.words
  const { file, workflowVersion } = context.options
  if ((typeof workflow === "string") === (typeof file === "string")) {
    throw new AppError("cli.usage", "give the name of a workflow, or a document with -f FILE")
  }
  if (typeof file === "string") return { document: await readInputFile(file, context.io) }
  if (workflowVersion === undefined) return { workflow: workflow as string }
  const version = Number(workflowVersion)
  if (!Number.isInteger(version) || version < 1) throw new AppError("cli.usage", "--workflow-version takes a number")
  return { workflow: workflow as string, version }
}
