import { rulesReplay, rulesTest } from "@signalbox/contracts/rules/operations"
import type { CallInputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import type { Command } from "commander"
import { parse } from "yaml"
import { addCommand, type CommandContext, type CommandFrame, onRun, textOption } from "../command.ts"
import { readDocuments } from "../documents/read-documents.ts"
import { exitCodes } from "../exit-codes.ts"
import { readInputFile } from "../input-file.ts"
import { renderTable } from "../output/table.ts"
import { renderVerdict } from "../output/render-verdict.ts"

type Which = Pick<CallInputOf<typeof rulesTest>, "name" | "rule">

/** `rules test` and `rules replay`: a rule, stored or in a file, on events and calls; nothing is performed. */
export function addRulesTest(rules: Command, frame: CommandFrame): void {
  const test = addCommand(rules, "test [name]", "Try a rule on an event or a call; nothing is performed")
    .description(
      "Try a rule on an event or a call; nothing is performed. Exit code 1 where it doesn't match.\n\nGive a stored rule's name, or a draft by -f; and an event's id, or a file with a made-up event or call.",
    )
    .option("-f, --file <file>", "a rule that isn't stored yet; - for standard input")
    .option("--event <id or file>", "a past event's id, or YAML with type, subject, data")
    .option("--call <file>", "YAML with operation, phase, input, output, caller")
  onRun(test, frame, { run: testRule })
  const replay = addCommand(rules, "replay [name]", "Hold past events against a rule; nothing is performed")
    .option("-f, --file <file>", "a rule that isn't stored yet; - for standard input")
    .option("--cursor <cursor>", "where the page before ended")
  onRun(replay, frame, { run: replayRule })
}

async function testRule(context: CommandContext): Promise<number> {
  const which = await whichRule(context)
  const [event, call] = [textOption(context, "event"), textOption(context, "call")]
  const on = await occurrence(context, { event, call })
  const verdict = await (await context.client()).call(rulesTest, { ...which, ...on })
  await context.show(verdict, () => renderVerdict(verdict))
  return verdict.outcome === "matched" ? exitCodes.ok : exitCodes.negative
}

async function replayRule(context: CommandContext): Promise<void> {
  const which = await whichRule(context)
  const cursor = textOption(context, "cursor")
  const page = await (
    await context.client()
  ).call(rulesReplay, { ...which, ...(cursor === undefined ? {} : { cursor }) })
  await context.show(page, (columns) => {
    const { items, scanned, matched, failed, nextCursor } = page
    const fields = ["time", "event", "type", "subject", "outcome", "reason"]
    const more = nextCursor === undefined ? "" : `; there are more: --cursor ${nextCursor}`
    return `${items.length === 0 ? "" : renderTable(items, { fields, columns })}${scanned} events: ${matched} matched, ${failed} failed${more}\n`
  })
}

async function whichRule(context: CommandContext): Promise<Which> {
  const file = textOption(context, "file")
  const name = context.words[0] as string | undefined
  if (file === undefined) {
    if (name === undefined) throw new AppError("cli.usage", "give a rule's name, or a draft by -f")
    return { name }
  }
  const documents = readDocuments(await readInputFile(file, context.io), file)
  const rules = documents.filter(({ kind }) => kind === "Rule")
  const found = name === undefined ? rules : rules.filter((document) => document.name === name)
  const [only] = found
  if (!only || found.length > 1 || !("declared" in only))
    throw new AppError("cli.usage", `${file} has ${found.length} rules that could be meant: give the name of one`)
  return { rule: only.value as unknown as NonNullable<Which["rule"]> }
}

type On = Pick<CallInputOf<typeof rulesTest>, "eventId" | "event" | "call">

async function occurrence(
  context: CommandContext,
  { event, call }: { readonly event: string | undefined; readonly call: string | undefined },
): Promise<On> {
  if ((event === undefined) === (call === undefined))
    throw new AppError("cli.usage", "give exactly one of --event and --call")
  if (call !== undefined) return { call: (await readYaml(context, call)) as NonNullable<On["call"]> }
  const given = event ?? ""
  if (/^evt_[0-9a-z]{26}(?:#\d+)?$/.test(given)) return { eventId: given }
  return { event: (await readYaml(context, given)) as NonNullable<On["event"]> }
}

async function readYaml(context: CommandContext, file: string): Promise<unknown> {
  try {
    return parse(await readInputFile(file, context.io)) as unknown
  } catch (error) {
    if (error instanceof AppError) throw error
    throw new AppError("cli.usage", `${file} is no YAML: ${(error as Error).message}`, { cause: error })
  }
}
