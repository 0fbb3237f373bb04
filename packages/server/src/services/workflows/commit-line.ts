/**
 * The commits of one run that are on their way to the database. Owns their order, their numbers and the connection that
 * they share while more than one is on its way. Invariants: each commit says how many were sent before it, so one behind
 * another that failed writes nothing; they are taken from the line in the order in which they were sent, and only once
 * they are durable. Only the runner uses it.
 */
import { assert } from "@signalbox/kernel/assert"
import type { Database, Lane } from "../../storage/database.ts"
import { commitBatch, writeBatch } from "./batch-store.ts"
import type { ClaimedExecution, Wished } from "./claimed-execution.ts"

/** One that the database works on and one that it finds when it is done; a third would only wait. */
export const commitsInFlightMax = 2

export type LineBatch = Parameters<typeof commitBatch>[2]

interface Commit<Step> {
  readonly step: Step
  /** What goes along with it needs a transaction of more than one statement, on another connection. */
  readonly aside: boolean
  /** What people wish by now; undefined where the lease is lost, or a commit before this one is. */
  readonly wished: Promise<Wished | "unwritten" | undefined>
  answered: boolean
}

export interface CommitLineOptions {
  readonly database: Database
  readonly claimed: ClaimedExecution
  /** A commit has been answered, well or badly; with what people wish where it is durable. */
  readonly onAnswer: (wished: Wished | undefined) => void
}

export class CommitLine<Step> {
  readonly #options: CommitLineOptions
  readonly #commits: Array<Commit<Step>> = []
  #lane: Lane | undefined
  /** Commits that were written or sent, by all owners. */
  #batches: number

  constructor(options: CommitLineOptions) {
    this.#options = options
    this.#batches = options.claimed.batches
  }

  get size(): number {
    return this.#commits.length
  }

  /** The oldest commit has been answered. */
  get hasAnswer(): boolean {
    return this.#commits[0]?.answered ?? false
  }

  /** How many commits may still be on their way when this one is sent. */
  othersMax(batch: LineBatch | undefined): number {
    // What writes nothing can't overtake anything either.
    if (batch === undefined) return commitsInFlightMax - 1
    if (!this.#lane || batch.accompany || this.#commits.some(({ aside }) => aside)) return 0
    return commitsInFlightMax - 1
  }

  /** Sends a commit behind those that are on their way; undefined stands for a step that writes nothing. */
  send(batch: LineBatch | undefined, step: Step): void {
    assert(this.size <= this.othersMax(batch), "a commit is sent once there is room for it")
    const aside = batch?.accompany !== undefined
    const wished = batch ? this.#write(batch) : Promise.resolve("unwritten" as const)
    const commit = { step, aside, wished, answered: batch === undefined }
    const { onAnswer } = this.#options
    wished.then(
      (answer) => {
        commit.answered = true
        onAnswer(answer === "unwritten" ? undefined : answer)
      },
      () => {
        commit.answered = true
        onAnswer(undefined)
      },
    )
    this.#commits.push(commit)
  }

  /** The step of the oldest commit, once it is durable; undefined where the lease is lost. Throws where the commit failed. */
  async next(): Promise<{ readonly step: Step; readonly written: boolean } | undefined> {
    const [commit] = this.#commits
    assert(commit, "there is a commit on its way")
    const answer = await commit.wished
    this.#commits.shift()
    return answer && { step: commit.step, written: answer !== "unwritten" }
  }

  /** From now on commits may follow one another closely. Only between commits, and where a connection can be had. */
  async speedUp(): Promise<void> {
    if (this.size === 0) this.#lane ??= await this.#options.database.openLane()
  }

  /** Gives the connection back, once what was sent has been answered. */
  async rest(): Promise<void> {
    const lane = this.#lane
    this.#lane = undefined
    await lane?.close()
  }

  #write(batch: LineBatch): Promise<Wished | undefined> {
    const { database, claimed } = this.#options
    const { account, id, owner, epoch } = claimed
    const fence = { account, id, owner, epoch, batches: this.#batches }
    this.#batches += 1
    if (batch.accompany) return commitBatch(database, fence, batch)
    return writeBatch(this.#lane ?? database, fence, batch)
  }
}
