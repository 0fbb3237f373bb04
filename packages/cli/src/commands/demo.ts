import type { Command } from "commander"
import { addCommand, type CommandContext, type CommandFrame, onRun, textOption } from "../command.ts"

export function addDemo(program: Command, frame: CommandFrame): void {
  const command = addCommand(
    program,
    "demo",
    "Show a rollout over a small fleet on this machine, and prove what is claimed",
  )
    .option("--keep", "leave everything running at the end")
    .option("--story <name>", "which story to tell: rollout (unless given), night, rules")
  onRun(command, frame, { connects: false, run: demo })
}

async function demo(context: CommandContext): Promise<number> {
  const { runDemo } = await import("../demo/demo.ts")
  const story = textOption(context, "story")
  return await runDemo({
    json: context.json,
    keep: context.options["keep"] === true,
    ...(story === undefined ? {} : { story }),
  })
}
