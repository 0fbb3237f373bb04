/**
 * Conditions that had no result, kept for a moment and written down together: a rule that fails on every call must not
 * write on every call. Owns a timer while it runs. A process that dies loses the last second of it.
 */
import type { Clock } from "@signalbox/kernel/clock"
import type { Logger } from "pino"
import type { Firing } from "../../router/rule-ports.ts"
import type { Database } from "../../storage/database.ts"
import { recordFaults, type RuleFaults } from "./rule-store.ts"

const flushMilliseconds = 1_000
const kept = { rulesMax: 1_000, messageLengthMax: 500 } as const

export interface FaultBook {
  note(account: string, firing: Firing, message: string): void
  start(): void
  stop(): Promise<void>
}

export function createFaultBook(options: {
  readonly database: Database
  readonly clock: Clock
  readonly logger: Pick<Logger, "warn">
}): FaultBook {
  let noted = new Map<string, RuleFaults>()
  let timer: NodeJS.Timeout | undefined
  let writing: Promise<void> = Promise.resolve()
  async function write(): Promise<void> {
    if (noted.size === 0) return
    const faults = [...noted.values()]
    noted = new Map()
    await recordFaults(options.database, faults).catch((error: unknown) =>
      options.logger.warn({ err: error }, "faults of rules could not be recorded"),
    )
  }
  return {
    note(account, { rule, version }, message) {
      const key = `${account}\0${rule}`
      const before = noted.get(key)
      if (!before && noted.size >= kept.rulesMax) return
      const count = before?.version === version ? before.count + 1 : 1
      const at = options.clock.now()
      noted.set(key, { account, rule, version, message: message.slice(0, kept.messageLengthMax), count, at })
    },
    start() {
      timer = setInterval(() => {
        writing = writing.then(write)
      }, flushMilliseconds)
    },
    async stop() {
      clearInterval(timer)
      await writing
      await write()
    },
  }
}
