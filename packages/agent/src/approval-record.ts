/**
 * Owns `approvals/`: which execution, and on which of its targets, each approval was used for, so that none is used
 * twice. A record is on disk before an order begins, and stays for as long as any approval may be trusted.
 */
import { createHash } from "node:crypto"
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import { signatureLimits } from "@signalbox/contracts/approvals/signed-votes"
import { z } from "zod"
import { syncDirectory } from "./journal.ts"

/** One more approval is refused; what is too old for any policy goes first. */
const recordsMax = 20_000
/** Targets that one agent carries out for one approval, itself and those it stands in for. */
const targetsMax = 1_000

const record = z.strictObject({
  execution: z.string(),
  /** By target id: its number in the run, and the `startBefore` of each attempt. */
  targets: z.record(z.string(), z.strictObject({ ordinal: z.int(), attempts: z.record(z.string(), z.number()) })),
})
type ApprovalRecordFile = z.output<typeof record>

/** What an approval is used for. `target` is absent of a health check, which changes nothing. */
export interface ApprovalUse {
  readonly execution: string
  readonly target?: {
    readonly id: string
    readonly ordinal: number
    readonly attempt: number
    /** Tells an order that was taken before from one that comes again. */
    readonly startBefore: number
  }
}

export class ApprovalRecord {
  readonly #directory: string
  #queue: Promise<unknown> = Promise.resolve()
  /** Records on disk; undefined until they were looked at. */
  #count: number | undefined

  constructor(dataDirectory: string) {
    this.#directory = join(dataDirectory, "approvals")
  }

  /** Notes a use before it happens; says why it can't be one. `approval` names the request and the content. */
  async claim(approval: string, use: ApprovalUse, now: number): Promise<string | undefined> {
    const result = this.#queue.then(() => this.#claim(approval, use, now))
    this.#queue = result.catch(() => undefined)
    return await result
  }

  async #claim(approval: string, use: ApprovalUse, now: number): Promise<string | undefined> {
    if (this.#count === undefined || this.#count >= recordsMax) this.#count = await this.#tidyUp(now)
    const name = `${createHash("sha256").update(approval).digest("hex")}.json`
    const before = await this.#read(name)
    if (before && before.execution !== use.execution) return `the approval was used for ${before.execution} already`
    const after = withUse(before ?? { execution: use.execution, targets: {} }, use)
    if (typeof after === "string") return after
    if (before && JSON.stringify(before) === JSON.stringify(after)) return undefined
    if (!before && this.#count >= recordsMax) return `this node remembers ${recordsMax} approvals and can take no more`
    await this.#write(name, after)
    if (!before) this.#count++
    return undefined
  }

  /** Forgets what no policy could trust any more; gives how many records are left. */
  async #tidyUp(now: number): Promise<number> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 })
    const names = await readdir(this.#directory)
    let count = names.length
    for (const name of names) {
      const path = join(this.#directory, name)
      const { mtimeMs } = await stat(path)
      if (now - mtimeMs <= signatureLimits.maxAgeMilliseconds + signatureLimits.clockSkewMilliseconds) continue
      await rm(path)
      count--
    }
    return count
  }

  async #read(name: string): Promise<ApprovalRecordFile | undefined> {
    const text = await readFile(join(this.#directory, name), "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined
      throw error
    })
    return text === undefined ? undefined : record.parse(JSON.parse(text))
  }

  async #write(name: string, value: ApprovalRecordFile): Promise<void> {
    const path = join(this.#directory, name)
    const file = await open(`${path}.new`, "w", 0o600)
    try {
      await file.writeFile(JSON.stringify(value))
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(`${path}.new`, path)
    await syncDirectory(this.#directory)
  }
}

/** The record with one more use; why there can't be one where it is another target's, or was used before. Pure. */
export function withUse(
  { execution, targets }: ApprovalRecordFile,
  { target }: ApprovalUse,
): ApprovalRecordFile | string {
  if (!target) return { execution, targets }
  const { id, ordinal, startBefore } = target
  const attempt = String(target.attempt)
  const known = Object.hasOwn(targets, id) ? targets[id] : undefined
  if (known && known.ordinal !== ordinal) return `the approval was used for this target as number ${known.ordinal}`
  if (!known && Object.keys(targets).length >= targetsMax)
    return `one approval is used for ${targetsMax} targets at most`
  const begun = known && Object.hasOwn(known.attempts, attempt) ? known.attempts[attempt] : undefined
  if (begun !== undefined && begun !== startBefore) return `attempt ${attempt} was carried out before`
  const attempts = { ...known?.attempts, [attempt]: startBefore }
  return { execution, targets: { ...targets, [id]: { ordinal, attempts } } }
}
