import { AppError } from "@signalbox/kernel/app-error"
import type { Command } from "commander"
import { addCommand, type CommandContext, type CommandFrame, onRun, textOption } from "../command.ts"
import { exitCodes } from "../exit-codes.ts"
import { readRecord } from "../generated/field-option.ts"
import { readInputFile } from "../input-file.ts"
import type { Io } from "../io.ts"
import { renderDetails } from "../output/details.ts"
import { safeLine } from "../output/safe-text.ts"
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
  onRun(enroll, frame, { connects: false, run: enrollThisMachine })
  const run = addCommand(agent, "run", "Be the agent of this machine until told to stop")
    .option(...dataOption)
    .option(...rootOption)
  onRun(run, frame, { connects: false, run: runAgent })
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

async function enrollThisMachine(context: CommandContext): Promise<void> {
  const { options } = context
  const { enrollAgent } = await import("@signalbox/agent/enroll")
  const keyFile = textOption(context, "keyFile")
  const variable = context.io.environment["SIGNALBOX_ENROLLMENT_KEY"]
  const key =
    keyFile === undefined ? (textOption(context, "key") ?? variable) : await readInputFile(keyFile, context.io)
  if (!key) throw new AppError("cli.usage", "give the enrolment key with --key, --key-file or SIGNALBOX_ENROLLMENT_KEY")
  const name = textOption(context, "name")
  const caFingerprint = textOption(context, "caFingerprint")
  const caFile = textOption(context, "caFile")
  const identity = await enrollAgent({
    serverUrl: textOption(context, "server") ?? "",
    key: key.trim(),
    dataDirectory: await dataDirectory(context),
    tags: readRecord((options["tag"] as string[] | undefined) ?? [], "--tag"),
    ...(name === undefined ? {} : { name }),
    ...(caFingerprint === undefined ? {} : { caFingerprint }),
    ...(caFile === undefined ? {} : { caFile }),
    ...(options["insecure"] === true ? { insecure: true } : {}),
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
    })
    await stopping.asked
    await agent.stop()
    return exitCodes.ok
  } finally {
    stopping.release()
  }
}

type Fields = Readonly<Record<string, unknown>>

/** The agent's messages on standard error: JSON lines with --json, else lines for people. */
function lineLogger(io: Io, json: boolean) {
  const write =
    (level: string) =>
    (message: string, fields: Fields = {}) => {
      const time = new Date().toISOString()
      const facts = Object.entries(fields)
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
      const line = json
        ? JSON.stringify({ time, level, message, ...fields })
        : safeLine([time, level, message, ...facts].join(" "))
      io.stderr.write(`${line}\n`)
    }
  return { info: write("info"), warn: write("warn"), error: write("error") }
}
