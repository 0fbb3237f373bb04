import type { CommandContext } from "../command.ts"
import { exitCodes } from "../exit-codes.ts"

/** A change that waits for approval. */
export async function showHeld(context: CommandContext, requestUrl: string): Promise<number> {
  await context.show({ status: "held", requestUrl }, () => `held for approval: ${requestUrl}\n`)
  return exitCodes.held
}
