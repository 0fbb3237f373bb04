import { AppError } from "@signalbox/kernel/app-error"
import type { Client } from "@signalbox/sdk/client"
import type { Command, CommanderError } from "commander"
import { addConnectionOptions, connect, type ConnectionOptions } from "./connection.ts"
import { exitCodes } from "./exit-codes.ts"
import { columnsOf, type Io, print, printLine } from "./io.ts"

/** What became of this invocation; `runCli` reads it. */
export interface Outcome {
  exitCode: number
  /** The command as typed, for errors. */
  doing: string
  json: boolean
}

export interface CommandContext {
  readonly io: Io
  readonly json: boolean
  readonly options: Readonly<Record<string, unknown>>
  readonly words: readonly unknown[]
  /** Columns of the terminal; undefined in a pipe. */
  readonly columns: number | undefined
  /** The client of the chosen server; closed when the command ends. */
  client(): Promise<Client>
  /** One JSON document with --json, else the text. */
  show(value: unknown, render: (columns: number | undefined) => string): Promise<void>
}

export interface CommandFrame {
  readonly io: Io
  readonly outcome: Outcome
}

/** An error of the command's use, with the command that it belongs to. */
export class UsageError extends Error {
  readonly original: CommanderError
  readonly doing: string

  constructor(original: CommanderError, doing: string) {
    super(original.message)
    this.original = original
    this.doing = doing
  }
}

/** Adds a subcommand whose usage errors know where they come from. */
export function addCommand(parent: Command, nameAndArguments: string, summary: string): Command {
  const command = parent.command(nameAndArguments).summary(summary).description(summary)
  return command.exitOverride((error) => {
    throw new UsageError(error, pathOf(command))
  })
}

/** @example pathOf(command) // "signalbox nodes list" */
export function pathOf(command: Command): string {
  const names: string[] = []
  for (let at: Command | null = command; at !== null; at = at.parent) names.unshift(at.name())
  return names.join(" ")
}

/** Binds a command to its action: --json, the client, the exit code. */
export function onRun(
  command: Command,
  frame: CommandFrame,
  options: {
    /** False where the command calls no server. */
    readonly connects?: boolean
    readonly run: (context: CommandContext) => Promise<number | void>
  },
): void {
  command.option("--json", "print JSON")
  if (options.connects !== false) addConnectionOptions(command)
  command.action(async () => {
    const { io, outcome } = frame
    const given = command.opts<ConnectionOptions & { json?: boolean } & Record<string, unknown>>()
    outcome.doing = pathOf(command)
    outcome.json = given.json === true
    let client: Promise<Client> | undefined
    const context: CommandContext = {
      io,
      json: outcome.json,
      options: given,
      words: command.processedArgs as unknown[],
      columns: columnsOf(io.stdout),
      client: () => (client ??= connect(given, io)),
      show: async (value, render) =>
        outcome.json ? printJson(io, value) : print(io.stdout, render(columnsOf(io.stdout))),
    }
    try {
      outcome.exitCode = (await options.run(context)) ?? exitCodes.ok
    } finally {
      await client?.then(
        (made) => made.close(),
        () => undefined,
      )
    }
  })
}

export async function printJson(io: Io, value: unknown): Promise<void> {
  await printLine(io.stdout, JSON.stringify(value))
}

/** The value of an option that commander made sure is a text. */
export function textOption(context: CommandContext, name: string): string | undefined {
  const value = context.options[name]
  if (value === undefined) return undefined
  if (typeof value !== "string") throw new AppError("cli.usage", `--${name} takes a text`)
  return value
}
