import { readdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { attemptFileName, isSettled, type Attempt } from "./attempt.ts"
import { type AttemptContext, savedDirectory } from "./attempt-context.ts"

/**
 * Forgets settled attempts that are past their age or over the count, and saved files that nothing needs or that are
 * over the limit of disk space, the oldest first. An attempt whose `startBefore` has not passed is never forgotten: a
 * late copy of its order would run again.
 */
export async function pruneAttempts(context: AttemptContext): Promise<void> {
  const { journal, limits, clock, serverNow } = context
  const settled = [...journal.attempts()].filter(isSettled).toSorted((a, b) => a.changedAt - b.changedAt)
  let surplus = journal.size - limits.attemptsKeptMax
  for (const attempt of settled) {
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

async function pruneSaved(context: AttemptContext, settled: readonly Attempt[]): Promise<void> {
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
    if (total <= context.limits.savedBytesTotalMax) return
    if (attempt.savedBytes === 0) continue
    await rm(savedDirectory(context, attempt.key), { recursive: true, force: true })
    total -= attempt.savedBytes
  }
}
