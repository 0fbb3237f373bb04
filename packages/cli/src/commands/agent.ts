import { AppError } from "@signalbox/kernel/app-error"
import type { Command } from "commander"
import { addCommand, type CommandContext, type CommandFrame, onRun, textOption } from "../command.ts"
import { exitCodes } from "../exit-codes.ts"
import { readRecord } from "../generated/field-option.ts"
import { readInputFile } from "../input-file.ts"
import { renderDetails } from "../output/details.ts"
import { safeLine } from "../output/safe-text.ts"
import { addAgentHost, enrollHostedNodes } from "./agent-host.ts"
import { lineLogger } from "./agent-logger.ts"
import { addAgentPolicy, policyOf, policyOption } from "./agent-policy.ts"
import { collect } from "./run-options.ts"
import { stopSignal } from "./serve.ts"

const dataOption = [
  "--data <directory>",
  "where the agent keeps its identity and journal [SIGNALBOX_AGENT_DATA]",
] as const
const rootOption = [
  "--root <directory>",
  "prefix of saved paths and working directory of commands [SIGNALBOX_AGENT_ROOT] (default: /)",
] as const

/** What runs on a machine: enrol it, be its agent, or only look at it. */
export function addAgent(program: Command, frame: CommandFrame): void {
  const agent = addCommand(program, "agent", "The part that runs on a machine").helpCommand(false)
  // `--root` after `run` is run's own; without this on both parents `agent` would take it, and `run` work on `/`.
  agent
    .enablePositionalOptions()
    .option("--once", "do what is asked once, and end")
    .option("--inventory", "print what this machine is and has; needs no server")
    .option(...rootOption)
  onRun(agent, frame, { connects: false, run: printInventory })
  const enroll = addCommand(agent, "enroll", "Make this machine a node of a server")
    .requiredOption("--server <url>", "the server's URL")
    .option("--key <key>", "the enrolment key or one-time code [SIGNALBOX_ENROLLMENT_KEY]")
    .option("--key-file <file>", "file with the enrolment key; - for standard input")
    .option("--ca-fingerprint <sha256>", "fingerprint of the server's own CA, which is then the only one trusted")
    .option("--ca-file <file>", "the server's CA in PEM")
    .option("--insecure", "allow plain HTTP away from this machine")
    .option("--name <name>", "the node's name (default: made of the host name)")
    .option("--tag <key=value>", "a tag of the node, where the key allows it (repeatable)", collect)
    .option(...dataOption)
    .option("--nodes <directory>", "make nodes for `agent host` instead, a folder each in this one")
    .option("--count <number>", "with --nodes: how many")
    .option("--name-prefix <text>", "with --nodes: their names, followed by 1, 2, 3 and so on")
  onRun(enroll, frame, { connects: false, run: enrollThisMachine })
  const run = addCommand(agent, "run", "Be the agent of this machine until told to stop")
    .option(...dataOption)
    .option(...rootOption)
    .option(...policyOption)
  onRun(run, frame, { connects: false, run: runAgent })
  addAgentHost(agent, frame)
  addAgentPolicy(agent, frame)
}

async function printInventory(context: CommandContext): Promise<void> {
  if (context.options["inventory"] !== true) {
    throw new AppError("cli.usage", "say `agent run`, `agent enroll` or `agent --once --inventory`")
  }
  const { collectInventory } = await import("@signalbox/agent/inventory")
  const root = textOption(context, "root")
  const inventory = await collectInventory(root === undefined ? {} : { root })
  await context.show(inventory, (columns) => renderDetails(inventory, columns))
}

async function dataDirectory(context: CommandContext): Promise<string> {
  const { defaultDataDirectory } = await import("@signalbox/agent/agent-identity")
  return textOption(context, "data") ?? (context.io.environment["SIGNALBOX_AGENT_DATA"] || defaultDataDirectory())
}

async function enrollThisMachine(context: CommandContext): Promise<number | void> {
  const { options } = context
  const keyFile = textOption(context, "keyFile")
  const variable = context.io.environment["SIGNALBOX_ENROLLMENT_KEY"]
  const key =
    keyFile === undefined ? (textOption(context, "key") ?? variable) : await readInputFile(keyFile, context.io)
  if (!key) throw new AppError("cli.usage", "give the enrolment key with --key, --key-file or SIGNALBOX_ENROLLMENT_KEY")
  const caFingerprint = textOption(context, "caFingerprint")
  const caFile = textOption(context, "caFile")
  const terms = {
    serverUrl: textOption(context, "server") ?? "",
    key: key.trim(),
    tags: readRecord((options["tag"] as string[] | undefined) ?? [], "--tag"),
    ...(caFingerprint === undefined ? {} : { caFingerprint }),
    ...(caFile === undefined ? {} : { caFile }),
    ...(options["insecure"] === true ? { insecure: true } : {}),
  }
  if (options["nodes"] !== undefined) return await enrollHostedNodes(context, terms)
  const name = textOption(context, "name")
  const { enrollPatiently } = await import("@signalbox/agent/enroll-patiently")
  const identity = await enrollPatiently({
    ...terms,
    dataDirectory: await dataDirectory(context),
    ...(name === undefined ? {} : { name }),
  })
  await context.show(
    identity,
    () =>
      safeLine(`this machine is the node ${identity.name} (${identity.node}) of ${identity.serverUrl}`) +
      "\nstart its agent with `signalbox agent run`\n",
  )
}

async function runAgent(context: CommandContext): Promise<number> {
  const { startAgent } = await import("@signalbox/agent/agent")
  const root = textOption(context, "root") ?? (context.io.environment["SIGNALBOX_AGENT_ROOT"] || undefined)
  const stopping = stopSignal(context.io)
  try {
    const agent = await startAgent({
      dataDirectory: await dataDirectory(context),
      logger: lineLogger(context.io, context.json),
      ...(root === undefined ? {} : { root }),
      ...policyOf(context),
    })
    await stopping.asked
    await agent.stop()
    return exitCodes.ok
  } finally {
    stopping.release()
  }
}
