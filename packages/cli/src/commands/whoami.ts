import { authWhoami } from "@signalbox/contracts/identity/operations"
import type { Command } from "commander"
import { addCommand, type CommandFrame, onRun } from "../command.ts"
import { runOperation } from "../generated/run-operation.ts"

/** The short form of `auth whoami`. */
export function addWhoami(program: Command, frame: CommandFrame): void {
  const command = addCommand(program, "whoami", authWhoami.summary)
  onRun(command, frame, {
    run: (context) => runOperation(context, authWhoami, { input: {}, override: {} }),
  })
}
