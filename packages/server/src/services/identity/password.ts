import { scrypt, timingSafeEqual } from "node:crypto"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import type { Random } from "@signalbox/kernel/random"

/**
 * Passwords by scrypt (RFC 7914). Each hash carries its own parameters, so that they can grow: a login with an older
 * hash writes a new one. Hashing takes threads and memory, so only a few run at once and a bounded number waits.
 */
export interface PasswordCost {
  /** The base-2 logarithm of N. Memory is 128 * r * 2^log2N bytes. */
  readonly log2N: number
  readonly r: number
  readonly p: number
}

/** Of OWASP's equivalent choices the one that takes least memory for its strength here: 16 MiB for each login. */
export const passwordCost: PasswordCost = { log2N: 14, r: 8, p: 5 }

const saltBytes = 16
const hashBytes = 32
const concurrentMax = 2
const waitingMax = 64
const memoryBytesMax = 256 * 1024 * 1024

export interface Passwords {
  hash(password: string): Promise<string>
  /**
   * Whether the password is the one of the hash. Takes as long where there is no hash, so that nobody learns from the
   * time whether a name exists.
   *
   * @throws identity.too-many-attempts where too many wait already
   */
  verify(password: string, stored: string | null): Promise<PasswordVerdict>
}

export interface PasswordVerdict {
  readonly matches: boolean
  /** The hash was made with other parameters than today's. */
  readonly outdated: boolean
}

export function createPasswords(options: { readonly random: Random; readonly cost?: PasswordCost }): Passwords {
  const { random, cost = passwordCost } = options
  const run = limitConcurrency()
  const decoySalt = random.bytes(saltBytes)
  return {
    async hash(password) {
      const salt = random.bytes(saltBytes)
      return writeHash({ cost, salt, hash: await run(() => derive(password, salt, cost)) })
    },
    async verify(password, stored) {
      const known = stored === null ? undefined : readHash(stored)
      const derived = await run(() => derive(password, known?.salt ?? decoySalt, known?.cost ?? cost))
      if (!known) return { matches: false, outdated: false }
      const { log2N, r, p } = known.cost
      return {
        matches: timingSafeEqual(derived, known.hash),
        outdated: log2N !== cost.log2N || r !== cost.r || p !== cost.p,
      }
    },
  }
}

function derive(password: string, salt: Uint8Array, cost: PasswordCost): Promise<Buffer> {
  const options = { N: 2 ** cost.log2N, r: cost.r, p: cost.p, maxmem: memoryBytesMax }
  return new Promise((resolve, reject) => {
    scrypt(password.normalize("NFKC"), salt, hashBytes, options, (error, key) => (error ? reject(error) : resolve(key)))
  })
}

interface StoredHash {
  readonly cost: PasswordCost
  readonly salt: Uint8Array
  readonly hash: Uint8Array
}

function writeHash({ cost, salt, hash }: StoredHash): string {
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64url")
  return `$scrypt$ln=${cost.log2N},r=${cost.r},p=${cost.p}$${text(salt)}$${text(hash)}`
}

function readHash(text: string): StoredHash {
  const match = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([\w-]{22})\$([\w-]{43})$/.exec(text)
  assert(match, "a stored password hash is one of ours")
  const [, log2N, r, p, salt = "", hash = ""] = match
  return {
    cost: { log2N: Number(log2N), r: Number(r), p: Number(p) },
    salt: Buffer.from(salt, "base64url"),
    hash: Buffer.from(hash, "base64url"),
  }
}

function limitConcurrency(): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0
  const waiting: Array<() => void> = []
  return async (work) => {
    if (running >= concurrentMax) {
      if (waiting.length >= waitingMax)
        throw new AppError("identity.too-many-attempts", "too many people log in at this moment", {
          details: { retryAfterSeconds: 1 },
        })
      await new Promise<void>((resolve) => waiting.push(resolve))
    } else {
      running++
    }
    try {
      return await work()
    } finally {
      // The place goes to the next in line without being free in between.
      const next = waiting.shift()
      if (next) next()
      else running--
    }
  }
}
