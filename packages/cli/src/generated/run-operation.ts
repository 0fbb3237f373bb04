import { type AnyOperation, type Done, type Reply, secretShownOnce } from "@signalbox/contracts/operation"
import type { Client } from "@signalbox/sdk/client"
import type { CommandContext } from "../command.ts"
import { exitCodes } from "../exit-codes.ts"
import { print, printLine } from "../io.ts"
import { showHeld } from "../output/show-held.ts"
import { memberAt } from "../output/cell-text.ts"
import { renderDetails } from "../output/details.ts"
import { renderTable } from "../output/table.ts"
import type { OperationOverride } from "./operation-override.ts"

export interface OperationRun {
  readonly input: Record<string, unknown>
  readonly override: OperationOverride
}

/** Calls an operation and prints what came back. */
export async function runOperation(context: CommandContext, operation: AnyOperation, run: OperationRun) {
  const client = await context.client()
  if (operation.effect === "stream") return await printStream(context, operation, { client, run })
  if (isPaged(operation) && context.options["allPages"] === true) {
    return await printPages(context, operation, { client, run })
  }
  if (operation.effect === "change") {
    const reply = (await client.call(operation, run.input)) as unknown as Reply<unknown>
    if (reply.status === "held") return await showHeld(context, reply.requestUrl)
    return await showDone(context, operation, { ...reply, run })
  }
  return await showValue(context, operation, { value: await client.call(operation, run.input), run })
}

export function isPaged(operation: AnyOperation): boolean {
  return operation.effect === "read" && "cursor" in operation.input.shape
}

/** With the runs that rules have started because of it. */
async function showDone(
  context: CommandContext,
  operation: AnyOperation,
  { value, started = [], run }: Done<unknown> & { readonly run: OperationRun },
): Promise<number> {
  const isNamed = context.json && started.length > 0 && typeof value === "object" && value !== null
  const code = await showValue(context, operation, { value: isNamed ? { ...value, started } : value, run })
  if (!context.json) for (const path of started) await printLine(context.io.stderr, `a rule started ${path}`)
  return code
}

async function showValue(
  context: CommandContext,
  operation: AnyOperation,
  shown: { readonly value: unknown; readonly run: OperationRun },
): Promise<number> {
  const { value, run } = shown
  await context.show(value, (columns) =>
    run.override.render
      ? run.override.render(value as never, columns)
      : renderValue(operation, value, { override: run.override, columns }),
  )
  if (operation.secretOutput?.some((member) => memberAt(value, member) === secretShownOnce) === true) {
    await printLine(
      context.io.stderr,
      "the first reply was lost and with it the secret: revoke this one and make another",
    )
  }
  const cursor = nextCursorOf(value)
  if (cursor !== undefined && !context.json) {
    await printLine(context.io.stderr, `there is more: --all-pages, or --cursor ${cursor}`)
  }
  return run.override.exitCode?.(value as never) ?? exitCodes.ok
}

function renderValue(operation: AnyOperation, value: unknown, shown: Shown): string {
  if (!operation.table) return renderDetails(value, shown.columns)
  const rows = rowsOf(operation, value)
  return rows.length === 0 ? "none\n" : renderRows(operation.table.columns, rows, shown)
}

interface Shown {
  readonly override: OperationOverride
  readonly columns: number | undefined
  readonly heading?: boolean
}

function renderRows(declared: readonly string[], rows: readonly unknown[], { override, ...shown }: Shown): string {
  const { table } = override
  const made = table ? rows.map((row) => table.row(row as never)) : rows
  return renderTable(made, { fields: table?.columns ?? declared, ...shown })
}

function rowsOf(operation: AnyOperation, value: unknown): readonly unknown[] {
  const rows = operation.table?.rows === undefined ? value : (value as Record<string, unknown>)[operation.table.rows]
  return Array.isArray(rows) ? rows : []
}

function nextCursorOf(value: unknown): string | undefined {
  const cursor = typeof value === "object" && value !== null && "nextCursor" in value ? value.nextCursor : undefined
  return typeof cursor === "string" ? cursor : undefined
}

interface Connected {
  readonly client: Client
  readonly run: OperationRun
}

/** All pages: one document in JSON, else a table that grows page by page. */
async function printPages(context: CommandContext, operation: AnyOperation, { client, run }: Connected) {
  const all: unknown[] = []
  let first: Record<string, unknown> | undefined
  for await (const page of client.pages(operation, run.input)) {
    const rows = rowsOf(operation, page)
    if (context.json) all.push(...rows)
    else if (rows.length > 0 && operation.table) {
      const heading = first === undefined
      await print(
        context.io.stdout,
        renderRows(operation.table.columns, rows, { override: run.override, columns: context.columns, heading }),
      )
    }
    first ??= page as Record<string, unknown>
  }
  if (context.json) {
    const { nextCursor: _, ...rest } = first ?? {}
    await context.show({ ...rest, [operation.table?.rows ?? "items"]: all }, () => "")
  }
  return exitCodes.ok
}

/** One line for each message, until Ctrl-C. */
async function printStream(context: CommandContext, operation: AnyOperation, { client, run }: Connected) {
  const { io } = context
  const stop = new AbortController()
  const release = io.onInterrupt(() => stop.abort())
  try {
    const onLost = (error: Error) =>
      void printLine(io.stderr, `${error.message}; trying again`).catch(() => stop.abort())
    for await (const { data } of client.watch(operation, run.input, { signal: stop.signal, onLost })) {
      if (context.json) await printLine(io.stdout, JSON.stringify(data))
      else await print(io.stdout, run.override.render?.(data as never, context.columns) ?? `${JSON.stringify(data)}\n`)
    }
    return exitCodes.ok
  } catch (error) {
    if (stop.signal.aborted) return exitCodes.interrupted
    throw error
  } finally {
    release()
  }
}
