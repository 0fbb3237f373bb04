import { randomBytes } from "node:crypto"
import { setTimeout as delay } from "node:timers/promises"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import { mapBounded } from "@signalbox/kernel/map-bounded"
import type { Random } from "@signalbox/kernel/random"
import { type AgentIdentity, readIdentity } from "./agent-identity.ts"
import { backoffMilliseconds, drawFraction } from "./backoff.ts"
import { enrollAgent, type EnrollOptions } from "./enroll.ts"
import { hostedNode } from "./hosted-node.ts"

export const enrollLimits = {
  /** 12 tries are about a minute and a half of patience. */
  attemptsMax: 12,
  pauseMillisecondsMin: 100,
  pauseMillisecondsMax: 15_000,
  /** Enrolments of one call under way at once. */
  parallelMax: 16,
  countMax: 10_000,
} as const

const systemRandom: Random = { bytes: (count) => randomBytes(count) }

/**
 * As `enrollAgent`, but what is worth trying again is tried again after a growing random pause: a rate limit, a server
 * that restarts. Hundreds of machines may begin at once.
 *
 * @throws what `enrollAgent` throws, of the last try
 */
export async function enrollPatiently(options: EnrollOptions, random = systemRandom): Promise<AgentIdentity> {
  const { attemptsMax, pauseMillisecondsMin: least, pauseMillisecondsMax: longest } = enrollLimits
  for (let attempt = 1; ; attempt++) {
    try {
      return await enrollAgent(options)
    } catch (error) {
      if (attempt >= attemptsMax || !isAppError(error) || !error.entry.retryable) throw error
      await delay(backoffMilliseconds(attempt, { least, longest }, drawFraction(random)))
    }
  }
}

export interface EnrollManyOptions extends Omit<EnrollOptions, "dataDirectory" | "name"> {
  readonly nodesDirectory: string
  readonly names: readonly string[]
}

export interface Enrolled {
  readonly name: string
  readonly node?: string
  /** `present`: enrolled by an earlier call. */
  readonly result: "enrolled" | "present" | "failed"
  readonly error?: AppError
}

/** `web-` and 3 make `web-1`, `web-2`, `web-3`. @throws cli.usage */
export function nodeNames(prefix: string, count: number): string[] {
  if (!Number.isInteger(count) || count < 1 || count > enrollLimits.countMax) {
    throw new AppError("cli.usage", `--count takes a number from 1 to ${enrollLimits.countMax}`)
  }
  return Array.from({ length: count }, (_, index) => `${prefix}${index + 1}`)
}

/**
 * Makes nodes for `agent host`: a folder, a key and an identity each. A name that is enrolled already is left as it is,
 * so the call can be repeated. Results are in the order of the names; a failure is no matter of the others.
 */
export async function enrollMany(options: EnrollManyOptions): Promise<Enrolled[]> {
  const { names, nodesDirectory, ...rest } = options
  return await mapBounded(names, enrollLimits.parallelMax, (name) =>
    enrollOne({ ...rest, name, dataDirectory: hostedNode(nodesDirectory, name).dataDirectory }),
  )
}

async function enrollOne(options: EnrollOptions & { readonly name: string }): Promise<Enrolled> {
  const { name, dataDirectory } = options
  try {
    const present = await readIdentity(dataDirectory).catch(() => undefined)
    if (present) return { name, node: present.node, result: "present" }
    const { node } = await enrollPatiently(options)
    return { name, node, result: "enrolled" }
  } catch (error) {
    if (!isAppError(error)) throw error
    return { name, result: "failed", error }
  }
}
