import type { Command } from "commander"
import { createBaseProgram } from "./base-program.ts"
import type { CommandFrame } from "./command.ts"

type AddCommand = (program: Command, frame: CommandFrame) => void

/**
 * Commands that are loaded without all the others: an agent runs for months and the rest would stay with it, and for
 * `exec` loading the rest would take longer than the command.
 */
const loneCommands: Readonly<Record<string, () => Promise<AddCommand>>> = {
  agent: async () => (await import("./commands/agent.ts")).addAgent,
  exec: async () => (await import("./commands/exec.ts")).addExec,
}

/** The command line of one command alone; undefined where this one isn't loaded so. */
export async function createLoneProgram(
  name: string | undefined,
  frame: CommandFrame,
  version: string,
): Promise<Command | undefined> {
  if (name === undefined || !Object.hasOwn(loneCommands, name)) return undefined
  const add = await loneCommands[name]?.()
  const program = createBaseProgram(frame, version)
  add?.(program, frame)
  return program
}
