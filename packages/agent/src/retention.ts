import { readdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { attemptFileName, isSettled, type Attempt } from "./attempt.ts"
import { type AttemptContext, savedDirectory } from "./attempt-context.ts"

export type RetentionContext = Pick<AttemptContext, "journal" | "limits" | "clock" | "serverNow" | "dataDirectory">

/**
 * Forgets settled attempts that are past their age or over the count, and saved files that nothing needs or that are
 * over the limit of disk space, the oldest first. What an order wants kept for a later rollback outlives age and count,
 * not the limit of disk space, and goes when its time is over. An attempt whose `startBefore` has not passed is never forgotten: a
 * late copy of its order would run again.
 */
export async function pruneAttempts(context: RetentionContext): Promise<void> {
  const { journal, limits, clock, serverNow } = context
  const held = new Set<string>()
  const settled = [...journal.attempts()].filter(isSettled).toSorted((a, b) => a.changedAt - b.changedAt)
  let surplus = journal.size - limits.attemptsKeptMax
  let heldMax = limits.attemptsHeldMax
  for (const attempt of settled.toReversed()) if (isHeld(attempt, clock.now()) && heldMax-- > 0) held.add(attempt.key)
  for (const attempt of settled) {
    if (held.has(attempt.key)) continue
    const old = clock.now() - attempt.changedAt > limits.attemptKeptMilliseconds
    if ((!old && surplus <= 0) || (attempt.startBefore ?? 0) > serverNow()) continue
    await journal.remove(attempt.key, isSettled)
    surplus--
  }
  await pruneSaved(
    context,
    settled.filter(({ key }) => journal.find(key) !== undefined),
  )
}

/** A rollback of it may still be ordered: it succeeded, and the time for which its saved state is wanted is not over. */
function isHeld({ keepMilliseconds, finishedAt, phases }: Attempt, now: number): boolean {
  return keepMilliseconds !== undefined && phases.rollback === "none" && now < (finishedAt ?? 0) + keepMilliseconds
}

async function pruneSaved(context: RetentionContext, settled: readonly Attempt[]): Promise<void> {
  const directory = join(context.dataDirectory, "saved")
  // Names first: an attempt is in the journal before its directory exists, so none of a new one is taken for a stray.
  const names = await readdir(directory)
  const known = new Map([...context.journal.attempts()].map((attempt) => [attemptFileName(attempt.key), attempt]))
  let total = 0
  for (const name of names) {
    const attempt = known.get(name)
    if (attempt) total += attempt.savedBytes
    else await rm(join(directory, name), { recursive: true, force: true })
  }
  for (const attempt of settled) {
    const isWanted = attempt.keepMilliseconds === undefined || isHeld(attempt, context.clock.now())
    if (attempt.savedBytes === 0 || (isWanted && total <= context.limits.savedBytesTotalMax)) continue
    await rm(savedDirectory(context, attempt.key), { recursive: true, force: true })
    total -= attempt.savedBytes
  }
}
