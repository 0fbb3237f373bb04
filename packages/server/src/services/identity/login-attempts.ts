import { createHash } from "node:crypto"
import { isIPv6 } from "node:net"
import { AppError } from "@signalbox/kernel/app-error"
import type { Sql } from "../../storage/database.ts"

/**
 * How often somebody may try: counted before a password is looked at, so that tries at the same time count too, and in
 * the database, so that several servers and a restart make no difference. Names that nobody has count alike.
 */
export const attemptLimits = {
  windowMilliseconds: 15 * 60_000,
  perUserMax: 10,
  perAddressMax: 100,
} as const

export interface Attempt {
  readonly account: string
  /** Left out where only the address counts. */
  readonly user?: string
  readonly sourceAddress?: string | undefined
}

/** @throws identity.too-many-attempts, with `retryAfterSeconds` */
export async function countAttempt(sql: Sql, attempt: Attempt, now: number): Promise<void> {
  const limits = limitsOf(attempt)
  const rows = await sql.query<{ bucket: string; attempts: number; windowEndsAt: number }>(
    `insert into login_attempts as a (bucket, attempts, window_ends_at)
     select bucket, 1, to_timestamp($2::float8 / 1000) from unnest($1::text[]) as bucket order by bucket
     on conflict (bucket) do update set
       attempts = case when a.window_ends_at <= to_timestamp($3::float8 / 1000) then 1 else a.attempts + 1 end,
       window_ends_at = case when a.window_ends_at <= to_timestamp($3::float8 / 1000) then excluded.window_ends_at
         else a.window_ends_at end
     returning bucket, attempts, window_ends_at as "windowEndsAt"`,
    [[...limits.keys()], now + attemptLimits.windowMilliseconds, now],
  )
  const over = rows.filter(({ bucket, attempts }) => attempts > (limits.get(bucket) ?? 0))
  if (over.length === 0) return
  const until = Math.max(...over.map(({ windowEndsAt }) => windowEndsAt))
  throw new AppError("identity.too-many-attempts", "too many attempts for this user or from this address", {
    details: { retryAfterSeconds: Math.max(1, Math.ceil((until - now) / 1000)) },
  })
}

/** After a good login: the user's tries are forgotten, the address gets this one back. */
export async function forgetAttempts(sql: Sql, attempt: Attempt): Promise<void> {
  const [user, address] = [userBucket(attempt), addressBucket(attempt)]
  if (user !== undefined) await sql.query("delete from login_attempts where bucket = $1", [user])
  if (address !== undefined)
    await sql.query("update login_attempts set attempts = greatest(attempts - 1, 0) where bucket = $1", [address])
}

export async function removeOldAttempts(sql: Sql, options: { before: number; limit: number }): Promise<number> {
  const rows = await sql.query(
    `delete from login_attempts where bucket in (
       select bucket from login_attempts where window_ends_at < to_timestamp($1::float8 / 1000) limit $2) returning 1`,
    [options.before, options.limit],
  )
  return rows.length
}

function limitsOf(attempt: Attempt): ReadonlyMap<string, number> {
  const limits = new Map<string, number>()
  const [user, address] = [userBucket(attempt), addressBucket(attempt)]
  if (user !== undefined) limits.set(user, attemptLimits.perUserMax)
  if (address !== undefined) limits.set(address, attemptLimits.perAddressMax)
  return limits
}

function userBucket({ account, user }: Attempt): string | undefined {
  return user === undefined ? undefined : bucketOf("user", `${account}\0${user.toLowerCase()}`)
}

function addressBucket({ sourceAddress }: Attempt): string | undefined {
  return sourceAddress === undefined ? undefined : bucketOf("address", networkOf(sourceAddress))
}

/** Hashed, since people type passwords where the name belongs. */
function bucketOf(kind: string, text: string): string {
  return createHash("sha256").update(`${kind}\0${text}`).digest("hex")
}

/** Of an IPv6 address the network of one customer, who has 2^64 of them. */
function networkOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, "").replace(/%.*$/, "")
  if (!isIPv6(plain)) return plain
  const [head = "", tail] = plain.split("::")
  const left = head === "" ? [] : head.split(":")
  const right = tail === undefined || tail === "" ? [] : tail.split(":")
  const groups =
    tail === undefined ? left : [...left, ...Array<string>(8 - left.length - right.length).fill("0"), ...right]
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")
}
