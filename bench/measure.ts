/** What all benchmarks share: a durable PostgreSQL for one sitting, contenders as processes, and the line of figures. */
import { spawn } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import pg from "pg"
import { startPrivatePostgres } from "@signalbox/server/storage/private-postgres"

export interface Connection {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
}

export interface Figures {
  readonly median: number
  readonly min: number
  readonly max: number
}

export function figuresOf(values: readonly number[]): Figures {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const median = sorted.length % 2 === 1 ? sorted[middle] : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
  return { median: round(median ?? 0), min: round(sorted[0] ?? 0), max: round(sorted.at(-1) ?? 0) }
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

export function round(value: number, digits = 3): number {
  return value >= 100 ? Math.round(value) : Number(value.toPrecision(digits))
}

/**
 * A PostgreSQL of this sitting; `fresh` makes an empty database in it and drops the one before, whose vacuum would take
 * processor time from the next contender.
 */
export async function withPostgres<T>(
  work: (fresh: () => Promise<Connection>, server: Connection, processId: number) => Promise<T>,
): Promise<T> {
  const dataDirectory = await mkdtemp(join(tmpdir(), "signalbox-bench-"))
  const postgres = await startPrivatePostgres({ dataDirectory })
  const server = postgres.connection as Connection
  let count = 0
  const fresh = async (): Promise<Connection> => {
    const database = `bench_${count++}`
    const client = new pg.Client({ ...server })
    await client.connect()
    if (count > 1) await client.query(`drop database bench_${count - 2} with (force)`)
    await client.query(`create database ${database}`)
    await client.query("checkpoint")
    await client.end()
    return { ...server, database }
  }
  try {
    return await work(fresh, server, postgres.processId)
  } finally {
    await postgres.stop()
    await rm(dataDirectory, { recursive: true, force: true })
  }
}

/** Runs a contender in a process of its own; its last line is a JSON object. */
export async function runContender<T>(script: URL, input: unknown): Promise<T> {
  const child = spawn(process.execPath, [fileURLToPath(script), JSON.stringify(input)], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  let output = ""
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()))
  const status = await new Promise<number | null>((resolve) => child.on("close", resolve))
  const line = output.trim().split("\n").at(-1) ?? ""
  if (status !== 0) throw new Error(`${script.pathname} ended with ${status}: ${line}`)
  return JSON.parse(line) as T
}

/** What a contender is given on its command line. */
export function contenderInput<T>(): T {
  return JSON.parse(process.argv[2] ?? "{}") as T
}

/**
 * Does the same work `rounds` times in this process and gives the seconds of the first and of the last: of a process
 * that has just started, and of one that has run for a while, as servers have.
 */
export async function firstAndLast(
  rounds: number,
  once: () => Promise<number>,
): Promise<{ readonly first: number; readonly last: number }> {
  const first = await once()
  let last = first
  for (let round = 1; round < rounds; round++) last = await once()
  return { first, last }
}

export function finish(result: unknown): never {
  process.stdout.write(`${JSON.stringify(result)}\n`)
  process.exit(0)
}
