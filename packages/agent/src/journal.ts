import { appendFileSync, closeSync, fdatasync, fstatSync, fsync, ftruncateSync, openSync } from "node:fs"
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, truncate } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import { crc32 } from "node:zlib"
import { attemptKey } from "@signalbox/contracts/fleet/agent-protocol"
import type { Clock } from "@signalbox/kernel/clock"
import {
  type Attempt,
  applyRecord,
  attemptFileName,
  type JournalRecord,
  newAttempt,
  type NewRecord,
} from "./attempt.ts"

/**
 * Owns `journal/`: one append-only file per attempt, one record a line: CRC-32 in hex, space, JSON. Only the attempt's
 * lane and the frame handlers of this process write, one record after the other. Invariants: a record is on disk
 * before `append` returns (unless `volatile`: then with the next that isn't); a torn last line was never acted upon and is
 * cut off; a bad line elsewhere marks the attempt `damaged` (the file is set aside), and what follows it is not believed.
 * Removing a file is the compaction. Only syncs leave this thread: a trip to the pool costs ten times a short write.
 */
export class Journal {
  readonly directory: string
  readonly #clock: Clock
  readonly #attempts = new Map<string, Attempt>()
  #queue: Promise<unknown> = Promise.resolve()

  private constructor(directory: string, clock: Clock) {
    this.directory = directory
    this.#clock = clock
  }

  static async open(directory: string, clock: Clock): Promise<Journal> {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    const journal = new Journal(directory, clock)
    for (const name of (await readdir(directory)).toSorted()) {
      const key = attemptKeyOf(name)
      if (key !== undefined) await journal.#load(key)
    }
    return journal
  }

  async #load(key: string): Promise<void> {
    const path = this.#path(key)
    const { records, validBytes, torn, damaged } = parseRecords(await readFile(path))
    if (records.length === 0 && !damaged) return await rm(path)
    if (torn) await truncate(path, validBytes)
    this.#attempts.set(key, records.reduce(applyRecord, newAttempt(key)))
    if (!damaged) return
    await rename(path, `${path}.damaged`)
    for (const record of records) await this.#write(key, formatRecord(record), { isNew: false, isVolatile: true })
    await this.append(key, { type: "damaged" })
    await syncDirectory(this.directory)
  }

  attempts(): IterableIterator<Attempt> {
    return this.#attempts.values()
  }

  get size(): number {
    return this.#attempts.size
  }

  find(key: string): Attempt | undefined {
    return this.#attempts.get(key)
  }

  /**
   * The attempt with the record applied. `volatile` leaves the sync to the next record of the attempt: for what only
   * matters while this machine is up, and for what another record says again before anything follows from it.
   */
  append(key: string, record: NewRecord, options: { volatile?: boolean } = {}): Promise<Attempt> {
    return this.#enqueue(async () => {
      const full = { ...record, at: this.#clock.now() } as JournalRecord
      const known = this.#attempts.get(key)
      await this.#write(key, formatRecord(full), { isNew: known === undefined, isVolatile: options.volatile === true })
      const attempt = applyRecord(known ?? newAttempt(key), full)
      this.#attempts.set(key, attempt)
      return attempt
    })
  }

  async #write(key: string, line: string, options: { isNew: boolean; isVolatile: boolean }): Promise<void> {
    const file = openSync(this.#path(key), "a", 0o600)
    try {
      const before = fstatSync(file).size
      try {
        appendFileSync(file, line)
        await this.#sync(file, options)
      } catch (error) {
        cutBack(file, before)
        throw error
      }
    } finally {
      closeSync(file)
    }
  }

  /** The record, and the name of a new file, which are two things to make durable: beside one another. */
  async #sync(file: number, { isNew, isVolatile }: { isNew: boolean; isVolatile: boolean }): Promise<void> {
    const directory = isNew ? openSync(this.directory, "r") : undefined
    try {
      const syncs: Array<Promise<void>> = []
      if (!isVolatile) syncs.push(syncData(file))
      if (directory !== undefined) syncs.push(syncAll(directory))
      for (const result of await Promise.allSettled(syncs)) if (result.status === "rejected") throw result.reason
    } finally {
      if (directory !== undefined) closeSync(directory)
    }
  }

  /** The records of an attempt, read from disk: memory holds no orders and no outputs. */
  async read(key: string): Promise<readonly JournalRecord[]> {
    return await this.#enqueue(async () => parseRecords(await readFile(this.#path(key))).records)
  }

  /** Forgets an attempt, if the condition still holds when its turn comes. */
  async remove(key: string, condition: (attempt: Attempt) => boolean): Promise<void> {
    await this.#enqueue(async () => {
      const attempt = this.#attempts.get(key)
      if (!attempt || !condition(attempt)) return
      this.#attempts.delete(key)
      await rm(this.#path(key), { force: true })
      await rm(`${this.#path(key)}.damaged`, { force: true })
    })
  }

  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work)
    this.#queue = result.catch(() => undefined)
    return result
  }

  #path(key: string): string {
    return join(this.directory, `${attemptFileName(key)}.log`)
  }
}

function attemptKeyOf(fileName: string): string | undefined {
  const key = fileName.replace(/\.log$/, "").replaceAll(".", "/")
  return fileName.endsWith(".log") && attemptKey.safeParse(key).success ? key : undefined
}

export function formatRecord(record: JournalRecord): string {
  const json = JSON.stringify(record)
  return `${crc32(json).toString(16).padStart(8, "0")} ${json}\n`
}

interface ParsedRecords {
  readonly records: readonly JournalRecord[]
  readonly validBytes: number
  /** The last line is incomplete or damaged: the write that a crash cut short. */
  readonly torn: boolean
  /** A line before the last is damaged: not a crash of ours. */
  readonly damaged: boolean
}

export function parseRecords(bytes: Buffer): ParsedRecords {
  const records: JournalRecord[] = []
  let start = 0
  while (start < bytes.length) {
    const end = bytes.indexOf(0x0a, start)
    const record = end === -1 ? undefined : parseRecord(bytes.toString("utf8", start, end))
    if (!record) {
      const isLast = end === -1 || end === bytes.length - 1
      return { records, validBytes: start, torn: isLast, damaged: !isLast }
    }
    records.push(record)
    start = end + 1
  }
  return { records, validBytes: start, torn: false, damaged: false }
}

function parseRecord(line: string): JournalRecord | undefined {
  const json = line.slice(9)
  if (line[8] !== " " || Number.parseInt(line.slice(0, 8), 16) !== crc32(json)) return undefined
  try {
    return JSON.parse(json) as JournalRecord
  } catch {
    return undefined
  }
}

const syncData = promisify(fdatasync)
const syncAll = promisify(fsync)

function cutBack(file: number, bytes: number): void {
  try {
    ftruncateSync(file, bytes)
  } catch {
    return // The next start cuts off what is torn.
  }
}

/** Makes a created, renamed or removed name durable. */
export async function syncDirectory(directory: string): Promise<void> {
  let handle: FileHandle | undefined
  try {
    handle = await open(directory, "r")
    await handle.sync()
  } finally {
    await handle?.close()
  }
}
