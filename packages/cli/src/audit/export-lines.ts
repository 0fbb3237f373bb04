import { createReadStream } from "node:fs"
import { createInterface } from "node:readline"
import { auditCheckpoint, auditExport } from "@signalbox/contracts/audit/chain-operations"
import { exportLine, type ExportLine } from "@signalbox/contracts/audit/export-line"
import { AppError } from "@signalbox/kernel/app-error"
import type { Client } from "@signalbox/sdk/client"

/** The audit chain as a server gives it, page by page: what an export holds, and what is checked without one. */
export async function* fetchExportLines(
  client: Client,
  time: { readonly from?: string; readonly to?: string },
): AsyncGenerator<ExportLine> {
  let isFirst = true
  for await (const page of client.pages(auditExport, { ...time, limit: 1000 })) {
    const { account, start, items, unsealed, checkpoints, end, isToHead } = page
    if (isFirst) yield { kind: "export", format: 1, account, start, ...time }
    isFirst = false
    for (const checkpoint of checkpoints) yield { kind: "checkpoint", ...checkpoint }
    // Those without a seal first: whatever else doesn't fit may be because of them.
    for (const record of unsealed) yield { kind: "unsealed", ...record }
    for (const item of items) yield { kind: "record", ...item }
    if (page.nextCursor !== undefined) continue
    if (isToHead) {
      const { number, envelope, publicKey } = await client.call(auditCheckpoint, {})
      if (number === end.number) yield { kind: "checkpoint", envelope, publicKey }
    }
    yield { kind: "end", ...end, isToHead }
  }
}

/** The lines of an export in a file. @throws cli.file-unreadable where it is none */
export async function* readExportLines(path: string): AsyncGenerator<ExportLine> {
  const stream = createReadStream(path)
  const lines = createInterface({ input: stream, crlfDelay: Infinity })
  let number = 0
  try {
    for await (const text of lines) {
      number++
      const line = exportLine.safeParse(parseJson(text))
      if (!line.success)
        throw new AppError("cli.file-unreadable", `line ${number} of ${path} is no line of an audit export`)
      yield line.data
    }
  } catch (cause) {
    if (cause instanceof AppError) throw cause
    throw new AppError("cli.file-unreadable", `${path} can't be read: ${String(cause)}`, { cause })
  } finally {
    stream.destroy()
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}
