import { AppError, hasCode } from "@signalbox/kernel/app-error"
import type { CopySummary } from "@signalbox/server/storage/backup"
import type { Connection } from "@signalbox/server/storage/database"
import type { Settings } from "@signalbox/server/settings"
import type { Command } from "commander"
import { addCommand, type CommandContext, type CommandFrame, onRun } from "../command.ts"
import { exitCodes } from "../exit-codes.ts"
import { safeText } from "../output/safe-text.ts"
import { addSettingOptions, settingsOf } from "./serve.ts"

const databaseSettings = [
  "data",
  "database-url",
  "blobs-directory",
  "blobs-s3-url",
  "blobs-s3-region",
  "blobs-s3-access-key",
  "blobs-s3-secret-key",
] as const

/** Copies of all data, made by the database's own protocol: no PostgreSQL program is needed. */
export function addDatabase(program: Command, frame: CommandFrame): void {
  const database = addCommand(program, "database", "Back up, restore and move all data").helpCommand(false)
  const backup = addCommand(database, "backup <file>", "Write all data to a file; the server may go on working")
  const restore = addCommand(database, "restore <file>", "Read all data from a file into an empty database")
  const move = addCommand(database, "move", "Copy all data into another, empty database").requiredOption(
    "--to <url>",
    "the other database: postgres://…",
  )
  for (const command of [backup, restore, move]) addSettingOptions(command, databaseSettings)
  onRun(backup, frame, { connects: false, run: runBackup })
  onRun(restore, frame, { connects: false, run: runRestore })
  onRun(move, frame, { connects: false, run: runMove })
}

async function runBackup(context: CommandContext): Promise<number> {
  const path = context.words[0] as string
  const settings = await settingsOf(context)
  const { backupDatabase } = await import("@signalbox/server/storage/backup")
  const { readDirectoryBlobs } = await import("@signalbox/server/storage/directory-blob-store")
  const programVersion = await version()
  const dataDirectory = settings.data
  // What lies in an S3 bucket is kept by that store's own means.
  const blobs = settings.blobs.s3 === undefined ? { blobs: readDirectoryBlobs(settings.blobs.directory) } : {}
  const summary = await withDatabase(settings, { besideServer: true }, (connection) =>
    backupDatabase({ connection, path, programVersion, ...blobs, dataDirectory }),
  )
  return await showSummary(context, summary, `all data is in ${path}; it holds keys, so keep it as safe as one`)
}

async function runRestore(context: CommandContext): Promise<number> {
  const path = context.words[0] as string
  const settings = await settingsOf(context)
  const { restoreDatabase } = await import("@signalbox/server/storage/backup")
  const { components } = await import("@signalbox/server/storage/components")
  const { openBlobStore } = await import("@signalbox/server/storage/open-blob-store")
  const programVersion = await version()
  const dataDirectory = settings.data
  const summary = await withDatabase(settings, { besideServer: false }, async (connection) => {
    // What the backup holds was within the quota when it was stored.
    const settingsOfBlobs = { ...settings.blobs, bytesMax: Number.MAX_SAFE_INTEGER }
    const blobs = await openBlobStore(settingsOfBlobs, { dataDirectory, isOnlyServer: false })
    try {
      return await restoreDatabase({ connection, path, programVersion, components, blobs: blobs.store, dataDirectory })
    } finally {
      await blobs.close()
    }
  })
  return await showSummary(context, summary, `all data of ${path} is restored`)
}

async function runMove(context: CommandContext): Promise<number> {
  const to = context.options["to"] as string
  if (!/^postgres(?:ql)?:\/\//.test(to))
    throw new AppError("cli.usage", "--to takes a URL as in postgres://USER@HOST/DATABASE")
  const settings = await settingsOf(context)
  const { moveDatabase } = await import("@signalbox/server/storage/backup")
  const { components } = await import("@signalbox/server/storage/components")
  const programVersion = await version()
  const summary = await withDatabase(settings, { besideServer: false }, (from) =>
    moveDatabase({ from, to, programVersion, components }),
  )
  return await showSummary(context, summary, "all data is copied; start the server with --database-url from now on")
}

async function version(): Promise<string> {
  return (await import("@signalbox/server/serve")).programVersion
}

/** The settings' own database, started for the time of the work where it is the private one. */
async function withDatabase<T>(
  settings: Settings,
  options: { readonly besideServer: boolean },
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  if (settings.databaseUrl !== undefined) return await work(settings.databaseUrl)
  const { startPrivatePostgres } = await import("@signalbox/server/storage/private-postgres")
  try {
    const postgres = await startPrivatePostgres({ dataDirectory: settings.data })
    try {
      return await work(postgres.connection)
    } finally {
      await postgres.stop()
    }
  } catch (error) {
    if (!options.besideServer || !hasCode(error, "storage.data-directory-locked")) throw error
    const { findRunningPostgres } = await import("@signalbox/server/storage/running-postgres")
    const connection = await findRunningPostgres(settings.data)
    if (connection === undefined) throw error
    return await work(connection)
  }
}

async function showSummary(context: CommandContext, summary: CopySummary, text: string): Promise<number> {
  const rows = summary.tables.reduce((sum, table) => sum + table.rows, 0)
  const { audit } = summary
  const faults = audit?.faults ?? []
  const parts = [
    ...[`${summary.tables.length} tables`, `${rows} rows`, `${summary.blobs} blobs`],
    ...(summary.files.length === 0 ? [] : [summary.files.join(", ")]),
    ...(audit && faults.length === 0 ? [`the audit chain fits: ${audit.records} records`] : []),
  ]
  const warnings = faults.map(({ account, what }) => `The audit chain of ${account} does NOT fit: ${what}.\n`)
  await context.show({ ...summary, rows }, () => `${text} (${parts.join(", ")})\n${safeText(warnings.join(""))}`)
  return faults.length === 0 ? exitCodes.ok : exitCodes.negative
}
