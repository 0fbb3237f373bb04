import { assert } from "@signalbox/kernel/assert"
import type { Sql, Tx } from "./database.ts"

/**
 * Configuration (keys, the routing map) lives in every server's memory as immutable values. Whoever changes a part of
 * it raises its version in the same transaction; every server asks for the versions at a fixed interval and loads
 * what grew. No notification is needed for that to be right, only for it to be faster.
 */
export const configurationPollMilliseconds = 500

/** The account under which the installation's own configuration stands. */
export const installationAccount = "*"

/** Gives the new version. */
export async function raiseConfigurationVersion(tx: Tx, account: string, component: string): Promise<number> {
  const [row] = await tx.query<{ version: number }>(
    `insert into configuration_versions (account, component, version) values ($1, $2, 1)
     on conflict (account, component) do update set version = configuration_versions.version + 1
     returning version`,
    [account, component],
  )
  assert(row !== undefined, "an upsert returns its row")
  return row.version
}

export interface ConfigurationWatcher {
  /** Looks now instead of at the next interval; resolves when everything that grew is loaded. */
  refresh(): Promise<void>
  stop(): Promise<void>
}

export interface ConfigurationListener {
  readonly component: string
  load(account: string, version: number): Promise<void>
}

/** Loads what grew since the last look, then looks again at a fixed interval. */
export async function watchConfiguration(options: {
  readonly sql: Sql
  readonly listeners: readonly ConfigurationListener[]
  readonly onError: (error: unknown) => void
}): Promise<ConfigurationWatcher> {
  const seen = new Map<string, number>()
  let running: Promise<void> | undefined
  let again = false
  let stopped = false

  async function look(): Promise<void> {
    const rows = await options.sql.query<{ account: string; component: string; version: number }>(
      "select account, component, version from configuration_versions",
      [],
      { name: "configuration-versions" },
    )
    for (const { account, component, version } of rows) {
      const key = `${component}\0${account}`
      if (seen.get(key) === version) continue
      for (const listener of options.listeners) {
        if (listener.component === component) await listener.load(account, version)
      }
      seen.set(key, version)
    }
  }

  function refresh(): Promise<void> {
    if (running) {
      again = true
      return running
    }
    running = (async () => {
      try {
        do {
          again = false
          await look()
        } while (again && !stopped)
      } finally {
        running = undefined
      }
    })()
    return running
  }

  await refresh()
  const timer = setInterval(() => {
    refresh().catch(options.onError)
  }, configurationPollMilliseconds)
  return {
    refresh,
    async stop() {
      stopped = true
      clearInterval(timer)
      await running?.catch(() => undefined)
    },
  }
}
