import { whyExplain, whyNode } from "@signalbox/contracts/audit/operations"
import { AppError } from "@signalbox/kernel/app-error"
import type { Command } from "commander"
import { addCommand, type CommandContext, type CommandFrame, onRun, textOption } from "../command.ts"
import { renderNodeAnswer } from "../output/render-node-answer.ts"
import { renderStory } from "../output/render-story.ts"

/** `signalbox why`: the story behind an id, or an answer to a question. */
export function addWhy(program: Command, frame: CommandFrame): void {
  const command = addCommand(
    program,
    "why <words...>",
    "Tell the story behind an id, or who changed a node or a package",
  )
    .description(
      `Tell the story behind an id, or who changed a node or a package.

  signalbox why ID                         who asked for it, and what followed
  signalbox why node NAME                  the runs that touched a node, and its signals
  signalbox why node NAME package PACKAGE  what changed a package there`,
    )
    .option("--limit <number>", "entries at most")
  onRun(command, frame, { run: runWhy })
}

async function runWhy(context: CommandContext): Promise<void> {
  const words = context.words[0] as string[]
  const limit = limitOf(context)
  const client = await context.client()
  if (words.length === 1) {
    const story = await client.call(whyExplain, { id: words[0] ?? "", ...limit })
    return await context.show(story, () => renderStory(story))
  }
  const [noun, node = "", of, name] = words
  const isPackage = words.length === 4 && of === "package"
  if (noun !== "node" || !(words.length === 2 || isPackage))
    throw new AppError("cli.usage", "ask: why ID, why node NAME, or why node NAME package PACKAGE")
  const answer = await client.call(whyNode, { node, ...limit, ...(isPackage ? { package: name } : {}) })
  await context.show(answer, () => renderNodeAnswer(answer))
}

function limitOf(context: CommandContext): { limit?: number } {
  const text = textOption(context, "limit")
  if (text === undefined) return {}
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new AppError("cli.usage", `--limit takes a number, not "${text}"`)
  return { limit: Number(text) }
}
