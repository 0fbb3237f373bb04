import { AppError } from "@signalbox/kernel/app-error"
import type { EnrollManyOptions } from "@signalbox/agent/enroll-patiently"
import type { Command } from "commander"
import { addCommand, type CommandContext, type CommandFrame, onRun, textOption } from "../command.ts"
import { exitCodes } from "../exit-codes.ts"
import { renderTable } from "../output/table.ts"
import { lineLogger } from "./agent-logger.ts"
import { policyOf, policyOption } from "./agent-policy.ts"
import { stopSignal } from "./serve.ts"

/** Many nodes in one process: for labs and tests. */
export function addAgentHost(agent: Command, frame: CommandFrame): void {
  const host = addCommand(agent, "host", "Be the agents of many nodes in one process, until told to stop")
    .requiredOption("--nodes <directory>", "holds a folder for each node, as `agent enroll --nodes` makes them")
    .option(...policyOption)
  onRun(host, frame, { connects: false, run: runHost })
}

async function runHost(context: CommandContext): Promise<number> {
  const { startAgentHost } = await import("@signalbox/agent/agent-host")
  const stopping = stopSignal(context.io)
  try {
    const host = await startAgentHost({
      nodesDirectory: textOption(context, "nodes") ?? "",
      logger: lineLogger(context.io, context.json),
      ...policyOf(context),
    })
    await stopping.asked
    await host.stop()
    return exitCodes.ok
  } finally {
    stopping.release()
  }
}

/** The part of `agent enroll --nodes`. */
export async function enrollHostedNodes(
  context: CommandContext,
  terms: Omit<EnrollManyOptions, "nodesDirectory" | "names">,
): Promise<number> {
  const prefix = textOption(context, "namePrefix")
  if (prefix === undefined || textOption(context, "name") !== undefined || textOption(context, "data") !== undefined) {
    throw new AppError("cli.usage", "--nodes goes with --count and --name-prefix, not with --name and --data")
  }
  const { enrollMany, nodeNames } = await import("@signalbox/agent/enroll-patiently")
  const nodesDirectory = textOption(context, "nodes") ?? ""
  const names = nodeNames(prefix, Number(textOption(context, "count")))
  const results = await enrollMany({ ...terms, nodesDirectory, names })
  const rows = results.map(({ error, ...rest }) => ({
    ...rest,
    ...(error === undefined ? {} : { code: error.code, reason: error.message }),
  }))
  const failed = rows.filter(({ result }) => result === "failed").length
  await context.show({ nodes: rows }, (columns) =>
    renderTable(rows, { fields: ["name", "result", "node", "code", "reason"], columns }),
  )
  return failed === 0 ? exitCodes.ok : exitCodes.negative
}
