import { AppError } from "@signalbox/kernel/app-error"
import type { Command } from "commander"
import { type CommandFrame, type Outcome, UsageError } from "./command.ts"
import { exitCodes } from "./exit-codes.ts"
import type { Io } from "./io.ts"
import { createLoneProgram } from "./lone-program.ts"
import { printError } from "./output/print-error.ts"

/** Runs one command line; returns its exit code. Nothing is thrown and the process is not ended. */
export async function runCli(words: readonly string[], io: Io, version: string): Promise<number> {
  const outcome: Outcome = { exitCode: exitCodes.ok, doing: "signalbox", json: words.includes("--json") }
  try {
    const program = await loadProgram(words, { frame: { io, outcome }, version })
    await program.parseAsync(withDefaultVerb(program, words), { from: "user" })
    return outcome.exitCode
  } catch (error) {
    if (!(error instanceof UsageError)) return await printError(error, { io, ...outcome })
    // Help and version were printed; commander tells so by an error too.
    if (error.original.exitCode === 0) return exitCodes.ok
    if (error.original.code === "commander.help") return exitCodes.usage
    const usage = new AppError("cli.usage", error.message.replace(/^error: /, "").replace(/\n/, " "), { cause: error })
    return await printError(usage, { io, doing: error.doing, json: outcome.json })
  }
}

async function loadProgram(words: readonly string[], of: { frame: CommandFrame; version: string }): Promise<Command> {
  const lone = await createLoneProgram(words[0], of.frame, of.version)
  return lone ?? (await import("./program.ts")).createProgram(of.frame, of.version)
}

/** `signalbox nodes` means `signalbox nodes list`. */
function withDefaultVerb(program: Command, words: readonly string[]): readonly string[] {
  const [noun, next] = words
  const command = program.commands.find((candidate) => candidate.name() === noun)
  const wantsHelp = words.includes("--help") || words.includes("-h")
  if (!command || wantsHelp || (next !== undefined && !next.startsWith("-"))) return words
  return command.commands.some((verb) => verb.name() === "list") ? [command.name(), "list", ...words.slice(1)] : words
}
