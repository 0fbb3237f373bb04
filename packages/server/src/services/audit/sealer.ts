/**
 * Seals audit records into the chains of their accounts, and signs the chains' heads every so often. Owns its timer
 * and nothing that has to survive: what is sealed, and how far, is in the database, and each batch is one guarded
 * statement. Every server runs one; whoever is first seals.
 */
import type { Clock } from "@signalbox/kernel/clock"
import { toInstant } from "@signalbox/kernel/clock"
import { setTimeout as delay } from "node:timers/promises"
import { sealRecord, signCheckpoint, type ChainLink } from "../../storage/audit-chain.ts"
import { findChainHead } from "../../storage/audit-pages.ts"
import type { Sql } from "../../storage/database.ts"
import type { SigningKey } from "../../storage/signing-key.ts"
import {
  beginChain,
  findUnsealedAccounts,
  findUnsigned,
  readUnsealed,
  writeCheckpoint,
  writeSeals,
} from "./seal-store.ts"

export const sealerLimits = {
  /** Between two looks; longer where a look takes long, so that many accounts cost no more. */
  pauseMilliseconds: 1000,
  pauseShare: 5,
  pauseMillisecondsMax: 5_000,
  /** Records of one statement: few enough that hashing them holds nobody up. */
  recordsMax: 250,
  /** Batches of one account in a row. */
  batchesMax: 40,
  accountsMax: 500,
  /** A head is signed after so many records, or so long after the last one that was. */
  checkpointRecords: 1000,
  checkpointSeconds: 600,
  /** Between two looks for heads to be signed. */
  signPauseMilliseconds: 60_000,
} as const

export interface SealerOptions {
  readonly sql: Sql
  readonly clock: Clock
  readonly signingKey: SigningKey
  readonly logger: { warn(fields: object, message: string): void }
  readonly pauseMilliseconds?: number
}

export class Sealer {
  readonly #options: SealerOptions
  readonly #stop = new AbortController()
  /** A chain that has begun is signed at once: from then on nobody can begin it anew. */
  #isChainNew = false
  #running: Promise<void> | undefined

  constructor(options: SealerOptions) {
    this.#options = options
  }

  start(): void {
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  /** Seals what there is, at most so many batches of each account; tells how long to pause before the next look. */
  async sealAll(): Promise<{ readonly pauseMilliseconds: number }> {
    const begun = performance.now()
    const accounts = await findUnsealedAccounts(this.#options.sql, sealerLimits.accountsMax)
    const looked = performance.now() - begun
    let more = accounts.length === sealerLimits.accountsMax
    for (const account of accounts) {
      let batches = 0
      while (!this.#stop.signal.aborted && (await this.#sealBatch(account))) {
        if (++batches < sealerLimits.batchesMax) continue
        more = true
        break
      }
    }
    return {
      pauseMilliseconds: more ? 0 : Math.min(looked * sealerLimits.pauseShare, sealerLimits.pauseMillisecondsMax),
    }
  }

  async signHeads(): Promise<void> {
    const { sql, clock, signingKey } = this.#options
    const due = { records: sealerLimits.checkpointRecords, seconds: sealerLimits.checkpointSeconds }
    for (const { account, number, hash } of await findUnsigned(sql, { ...due, limit: sealerLimits.accountsMax })) {
      const checkpoint = { account, number, hash, time: toInstant(clock.now()) }
      await writeCheckpoint(sql, checkpoint, signCheckpoint(signingKey, checkpoint))
    }
  }

  /** True where there may be more. */
  async #sealBatch(account: string): Promise<boolean> {
    const { sql } = this.#options
    const head = await findChainHead(sql, account)
    if (head.number === 0) await beginChain(sql, account)
    const records = await readUnsealed(sql, account, { head, limit: sealerLimits.recordsMax })
    const links: ChainLink[] = []
    for (const record of records) links.push(sealRecord(links.at(-1) ?? head, record))
    const written = await writeSeals(sql, account, { before: head, records, links })
    if (written && head.number === 0) this.#isChainNew = true
    return written && records.length === sealerLimits.recordsMax
  }

  async #run(): Promise<void> {
    const { logger, pauseMilliseconds = sealerLimits.pauseMilliseconds } = this.#options
    const { signal } = this.#stop
    let signedAt = -Infinity
    while (!signal.aborted) {
      let pause = pauseMilliseconds
      try {
        const sealed = await this.sealAll()
        pause = sealed.pauseMilliseconds === 0 ? 0 : Math.max(pauseMilliseconds, sealed.pauseMilliseconds)
        if (this.#isChainNew || performance.now() - signedAt >= sealerLimits.signPauseMilliseconds) {
          await this.signHeads()
          signedAt = performance.now()
          this.#isChainNew = false
        }
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        logger.warn({ reason }, "audit records could not be sealed; it is tried again")
      }
      await delay(pause, undefined, { signal }).catch(() => undefined)
    }
  }
}
