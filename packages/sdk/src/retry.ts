import type { AppError } from "@signalbox/kernel/app-error"
import { setTimeout as sleep } from "node:timers/promises"

export const retryLimits = {
  attemptsMax: 6,
  /** Connections in a row that may bring no message before a stream is given up: some minutes. */
  reconnectsMax: 40,
  delayMillisecondsFirst: 100,
  delayMillisecondsMax: 5000,
  /** The longest Retry-After that a call waits for by itself. */
  retryAfterSecondsMax: 30,
} as const

/** What is known of a failed attempt. */
export interface Failure {
  readonly error: AppError
  /** True where the request may have reached the server before the connection went. */
  readonly lost?: true
  readonly retryAfterSeconds?: number
}

/**
 * Milliseconds to wait before the next attempt, or undefined to give up. A server that was never there is told at
 * once; one that went away in the middle of a call may be restarting, so the call goes on asking for it.
 *
 * @param random 0 up to 1: spreads callers that failed together
 */
export function retryDelay(failure: Failure, attempt: number, options: { lostBefore: boolean; random: number }) {
  if (attempt >= retryLimits.attemptsMax) return undefined
  const { retryAfterSeconds } = failure
  if (retryAfterSeconds !== undefined && failure.error.entry.retryable) {
    return retryAfterSeconds <= retryLimits.retryAfterSecondsMax ? retryAfterSeconds * 1000 : undefined
  }
  const wanted =
    failure.lost === true ||
    (failure.error.code === "cli.no-server" ? options.lostBefore : failure.error.entry.retryable)
  return wanted ? backoffDelay(attempt, options.random) : undefined
}

/** Doubles with each attempt (1, 2, …) up to the limit; half of it is spread at random. */
export function backoffDelay(attempt: number, random: number): number {
  const full = Math.min(retryLimits.delayMillisecondsFirst * 2 ** (attempt - 1), retryLimits.delayMillisecondsMax)
  return full / 2 + (full / 2) * random
}

export async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(milliseconds, undefined, signal === undefined ? {} : { signal })
}
