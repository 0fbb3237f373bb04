import type { Caller } from "../../router/handler.ts"
import { isSameHash, parseKeyText } from "../../router/key-text.ts"
import type { Authenticator, Credential } from "../../router/ports.ts"
import type { ConfigurationListener } from "../../storage/configuration-versions.ts"
import type { Sql } from "../../storage/database.ts"
import type { KnownPrincipal, People } from "./people-directory.ts"
import { SerialLoader } from "./serial-loader.ts"
import { readChangedSessions, readUsedAt, writeUsedAt, type SessionRow } from "./session-store.ts"

/**
 * Every user session of the installation in memory. Servers load what changed since the version they have, and a
 * session stays known as revoked until it would have expired, so that no older look brings it back. When a session was
 * used is kept here and written down now and then: idle sessions end by what all servers wrote.
 */
export interface SessionDirectory extends Authenticator, ConfigurationListener {
  /** Writes down when sessions were used since the last time. */
  flush(): Promise<void>
}

export const sessionsComponent = "identity.sessions"

const usedAtStepMilliseconds = 60_000
const flushRowsMax = 1_000

interface KnownSession {
  readonly row: SessionRow
  /** As far as this server knows. */
  usedAt: number
  writtenUsedAt: number
  /** What was derived from which user entry. */
  derived?: { readonly from: KnownPrincipal; readonly caller: Caller }
}

interface AccountSessions {
  version: number
  readonly byId: Map<string, KnownSession>
}

export interface SessionDirectoryOptions {
  readonly sql: Sql
  readonly people: People
  readonly idleMilliseconds: number
  readonly now: () => number
}

export function createSessionDirectory(options: SessionDirectoryOptions): SessionDirectory {
  const { sql, people, now } = options
  const accounts = new Map<string, AccountSessions>()
  const unwritten = new Map<string, KnownSession>()
  const loader = new SerialLoader((account) => loadChanged(sql, accounts, { account, now: now() }))
  return {
    component: sessionsComponent,
    load: (account) => loader.load(account),
    async authenticate(credential) {
      const parsed = parseKeyText(credential.token)
      if (!parsed?.id.startsWith("uss_")) return undefined
      const { account, id } = parsed
      const find = (): KnownSession | undefined => accounts.get(account)?.byId.get(id)
      // A session of a moment ago, perhaps of another server. Loads are shared and one at a time, whatever comes.
      if (!find() && people.knows(account)) await loader.load(account)
      const session = find()
      if (!session || !isSameHash(session.row.tokenHash, parsed.secretHash)) return undefined
      if (!people.find(account, session.row.userId)) await people.refresh(account)
      const caller = await callerOf(options, account, { session, credential })
      if (caller && session.usedAt - session.writtenUsedAt >= usedAtStepMilliseconds) unwritten.set(id, session)
      return caller
    },
    async flush() {
      while (unwritten.size > 0) {
        const batch = [...unwritten].slice(0, flushRowsMax)
        const uses = batch.map(([id, { row, usedAt }]) => ({ id, userId: row.userId, usedAt }))
        await writeUsedAt(sql, uses)
        for (const [index, [id, session]] of batch.entries()) {
          session.writtenUsedAt = uses[index]?.usedAt ?? session.writtenUsedAt
          unwritten.delete(id)
        }
      }
    },
  }
}

async function loadChanged(
  sql: Sql,
  accounts: Map<string, AccountSessions>,
  at: { readonly account: string; readonly now: number },
): Promise<void> {
  const { account, now } = at
  const known = accounts.get(account) ?? { version: 0, byId: new Map<string, KnownSession>() }
  const rows = await readChangedSessions(sql, account, { version: known.version, now })
  for (const row of rows) {
    const before = known.byId.get(row.id)
    const usedAt = Math.max(row.usedAt, before?.usedAt ?? 0)
    known.byId.set(row.id, { row, usedAt, writtenUsedAt: row.usedAt })
    known.version = Math.max(known.version, row.directoryVersion)
  }
  for (const [id, { row }] of known.byId) if (row.expiresAt <= now) known.byId.delete(id)
  accounts.set(account, known)
}

async function callerOf(
  { sql, people, idleMilliseconds }: SessionDirectoryOptions,
  account: string,
  { session, credential }: { readonly session: KnownSession; readonly credential: Credential },
): Promise<Caller | undefined> {
  const { row } = session
  const { now } = credential
  if (row.revokedAt !== null || row.expiresAt <= now) return undefined
  const user = people.find(account, row.userId)
  if (!user?.caller) return undefined
  if (row.provider !== null && !people.isProviderEnabled(account, row.provider)) return undefined
  if (now - session.usedAt > idleMilliseconds) {
    // Another server may have seen it since.
    session.usedAt = Math.max(session.usedAt, (await readUsedAt(sql, row.userId, row.id)) ?? 0)
    if (now - session.usedAt > idleMilliseconds) return undefined
  }
  session.usedAt = Math.max(session.usedAt, now)
  const derived =
    session.derived?.from === user
      ? session.derived
      : { from: user, caller: { ...user.caller, credential: row.id, expiresAt: row.expiresAt } }
  session.derived = derived
  return derived.caller
}
