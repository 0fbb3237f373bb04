import { tasksOutput } from "@signalbox/contracts/workflows/operations"
import type { CallInputOf } from "@signalbox/contracts/operation"
import { type CommandContext, printJson } from "../command.ts"
import { exitCodes } from "../exit-codes.ts"
import { print } from "../io.ts"
import { safeLine, safeText } from "./safe-text.ts"

/** All that is kept of a task's output, page by page as it comes; each stream under a heading. */
export async function printTaskOutput(
  context: CommandContext,
  input: CallInputOf<typeof tasksOutput>,
): Promise<number> {
  const client = await context.client()
  let heading = ""
  let cursor = input.cursor
  do {
    const page = await client.call(tasksOutput, { ...input, ...(cursor === undefined ? {} : { cursor }) })
    for (const { step, name, stream, text } of page.items) {
      if (context.json) {
        await printJson(context.io, { step, name, stream, text })
        continue
      }
      const next = `${safeLine(name)}, ${stream}:`
      if (next !== heading) await print(context.io.stdout, `${heading === "" ? "" : "\n"}${next}\n`)
      heading = next
      await print(context.io.stdout, safeText(text))
    }
    cursor = page.nextCursor
  } while (cursor !== undefined)
  if (heading !== "") await print(context.io.stdout, "\n")
  return exitCodes.ok
}
