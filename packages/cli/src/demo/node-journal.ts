import type { JournalRecord } from "@signalbox/agent/attempt"
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { parseAttemptKey } from "@signalbox/contracts/fleet/agent-protocol"

/** What one attempt did on its node, as the agent wrote it down there. */
export interface JournalEntry {
  readonly executionId: string
  readonly attempt: number
  /** How the task ended; undefined while it has not. */
  readonly state: string | undefined
  readonly rollback: string | undefined
  readonly message: string | undefined
  /** Milliseconds since 1970: the order came; the last thing of it was over. */
  readonly from: number
  readonly to: number
  /** When the task ended. */
  readonly taskEndedAt: number | undefined
  /** Something was started more often than once: the task, a rollback, or the same step of either. */
  readonly ranTwice: boolean
}

/** An attempt's records as one entry. Pure. */
export function summarizeRecords(key: string, records: readonly JournalRecord[]): JournalEntry {
  const { executionId, attempt } = parseAttemptKey(key)
  const begun = new Map<string, number>()
  let entry: JournalEntry = {
    executionId,
    attempt,
    state: undefined,
    rollback: undefined,
    message: undefined,
    from: records[0]?.at ?? 0,
    to: records[0]?.at ?? 0,
    taskEndedAt: undefined,
    ranTwice: false,
  }
  for (const record of records) {
    if (record.type === "started" || record.type === "step") {
      const what = `${record.type} ${record.phase} ${record.type === "step" ? record.step : ""}`
      begun.set(what, (begun.get(what) ?? 0) + 1)
    }
    if (record.type !== "finished") continue
    entry = { ...entry, to: Math.max(entry.to, record.at) }
    if (record.phase === "task") {
      const { state, message } = record.outcome
      entry = { ...entry, state, message, taskEndedAt: record.at }
    } else entry = { ...entry, rollback: record.outcome.state }
  }
  return { ...entry, ranTwice: [...begun.values()].some((count) => count > 1) }
}

/** Everything that the agent of this directory has on record. It is read, never written, while the agent may write. */
export async function readNodeJournal(agentDirectory: string): Promise<JournalEntry[]> {
  const { parseRecords } = await import("@signalbox/agent/journal")
  const directory = join(agentDirectory, "journal")
  const names = await readdir(directory).catch(() => [])
  const entries: JournalEntry[] = []
  for (const name of names.filter((candidate) => candidate.endsWith(".log")).toSorted()) {
    const { records } = parseRecords(await readFile(join(directory, name)))
    entries.push(summarizeRecords(name.slice(0, -".log".length).replaceAll(".", "/"), records))
  }
  return entries
}

/** True where nothing of the entry is still under way. A failed task is over when its rollback is. */
export function isEntryOver(entry: JournalEntry): boolean {
  return entry.state === "succeeded" || (entry.state !== undefined && entry.rollback !== undefined)
}
