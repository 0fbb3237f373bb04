import { once } from "node:events"
import { createWriteStream } from "node:fs"
import { rename, rm } from "node:fs/promises"
import { finished } from "node:stream/promises"
import { signingKeysList } from "@signalbox/contracts/audit/chain-operations"
import { exportLine, type ExportLine } from "@signalbox/contracts/audit/export-line"
import { AppError } from "@signalbox/kernel/app-error"
import type { Command } from "commander"
import { fetchExportLines, readExportLines } from "../audit/export-lines.ts"
import { verifyExport, type ChainVerdict, type VerifyOptions } from "../audit/verify-export.ts"
import { addCommand, type CommandContext, type CommandFrame, onRun, textOption } from "../command.ts"
import { exitCodes } from "../exit-codes.ts"
import { readInputFile, readJsonObject } from "../input-file.ts"
import { type Io, printLine } from "../io.ts"
import { safeLine } from "../output/safe-text.ts"

/** `signalbox audit export | verify`: the audit chain, taken out and computed again. */
export function addAudit(audit: Command, frame: CommandFrame): void {
  const exporting = addCommand(audit, "export", "Write the audit chain as JSON Lines")
    .description(
      "Write the audit chain as JSON Lines: records with their seals, and signed checkpoints.\n\n`signalbox audit verify --file FILE` checks it again, anywhere and without a server.",
    )
    .option("--from <instant>", "records from this instant on")
    .option("--to <instant>", "records before this instant")
    .option("-o, --output <file>", "write to this file instead of standard output")
  onRun(exporting, frame, { run: runExport })
  const verifying = addCommand(
    audit,
    "verify",
    "Compute the audit chain again and name the first record that doesn't fit",
  )
    .option("--file <export>", "check an export, without a server")
    .option("--checkpoint <file>", "a checkpoint that was kept elsewhere (`signalbox audit checkpoint`)")
    .option("--public-key <file>", "count only checkpoints signed by this key (PEM)")
    .option("--from <instant>", "check only records from this instant on")
    .option("--pruned", "accept that the beginning was taken out, up to a signed checkpoint")
  onRun(verifying, frame, { run: runVerify })
}

async function runExport(context: CommandContext): Promise<number | void> {
  const lines = fetchExportLines(await context.client(), timeOf(context))
  const path = textOption(context, "output")
  if (path === undefined) {
    for await (const line of lines) await printLine(context.io.stdout, JSON.stringify(line))
    return
  }
  const records = await writeLines(path, lines)
  await context.show({ file: path, records }, () => `${records} records are in ${path}\n`)
}

/** The file appears when it is whole. */
async function writeLines(path: string, lines: AsyncIterable<ExportLine>): Promise<number> {
  const unfinished = `${path}.unfinished`
  const file = createWriteStream(unfinished, { mode: 0o600 })
  const done = finished(file)
  // Also while nobody waits for it, a failure is no reason to end the process.
  done.catch(() => undefined)
  let records = 0
  try {
    for await (const line of lines) {
      if (line.kind === "record") records++
      if (!file.write(`${JSON.stringify(line)}\n`)) await Promise.race([once(file, "drain"), done])
    }
    file.end()
    await done
    await rename(unfinished, path)
    return records
  } catch (cause) {
    file.destroy()
    await rm(unfinished, { force: true })
    if (cause instanceof AppError) throw cause
    throw new AppError("cli.file-unreadable", `${path} can't be written: ${String(cause)}`, { cause })
  }
}

async function runVerify(context: CommandContext): Promise<number> {
  const path = textOption(context, "file")
  const options = await verifyOptionsOf(context)
  const verdict = await (path === undefined
    ? verifyServer(context, options)
    : verifyExport(readExportLines(path), options))
  await context.show(verdict, () => renderVerdict(verdict))
  return verdict.valid ? exitCodes.ok : exitCodes.negative
}

/** Of a server only keys count that are on its own list, whatever a page says. */
async function verifyServer(context: CommandContext, options: VerifyOptions): Promise<ChainVerdict> {
  const client = await context.client()
  const { items } = await client.call(signingKeysList, {})
  const trustedKeys = options.trustedKeys ?? items.map(({ publicKey }) => publicKey)
  return await verifyExport(fetchExportLines(client, timeOf(context)), { ...options, trustedKeys })
}

async function verifyOptionsOf(context: CommandContext): Promise<VerifyOptions> {
  const checkpoint = textOption(context, "checkpoint")
  const publicKey = textOption(context, "publicKey")
  return {
    isPrunedAccepted: context.options["pruned"] === true,
    ...(checkpoint === undefined ? {} : { kept: await readKept(checkpoint, context.io) }),
    ...(publicKey === undefined ? {} : { trustedKeys: [await readInputFile(publicKey, context.io)] }),
  }
}

/** @throws cli.usage where the file is no checkpoint */
async function readKept(path: string, io: Io): Promise<NonNullable<VerifyOptions["kept"]>> {
  const { envelope, publicKey } = await readJsonObject(path, io)
  const line = exportLine.safeParse({ kind: "checkpoint", envelope, publicKey })
  if (line.data?.kind !== "checkpoint") throw new AppError("cli.usage", `${path} holds no checkpoint of an audit chain`)
  return line.data
}

function timeOf(context: CommandContext): { from?: string; to?: string } {
  const from = textOption(context, "from")
  const to = textOption(context, "to")
  return { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) }
}

function renderVerdict({ valid, account, records, first, last, checkpoints, signedBy, fault }: ChainVerdict): string {
  const counted = `${records} records${records > 0 ? ` (${first} to ${last})` : ""}`
  const keys = signedBy.map((id) => id.slice(0, 16)).join(", ")
  const signed =
    checkpoints === 0
      ? "no signed checkpoint"
      : `${checkpoints} ${checkpoints === 1 ? "checkpoint" : "checkpoints"} signed by ${keys}`
  if (valid) return safeLine(`the audit chain of ${account} fits: ${counted}, ${signed}`) + "\n"
  return safeLine(`the audit chain of ${account} does NOT fit: ${fault?.what}. Before that, ${counted} fit`) + "\n"
}
