import { AppError } from "@signalbox/kernel/app-error"
import type { CommandContext } from "../command.ts"

export async function watchExecution(
  _context: CommandContext,
  _options: { executionId: string; output: boolean },
): Promise<number> {
  throw new AppError("cli.usage", "later")
}
