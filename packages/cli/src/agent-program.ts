import type { Command } from "commander"
import { createBaseProgram } from "./base-program.ts"
import type { CommandFrame } from "./command.ts"
import { addAgent } from "./commands/agent.ts"

/** The command line of `signalbox agent` alone: an agent runs for months, and the other commands would stay with it. */
export function createAgentProgram(frame: CommandFrame, version: string): Command {
  const program = createBaseProgram(frame, version)
  addAgent(program, frame)
  return program
}
