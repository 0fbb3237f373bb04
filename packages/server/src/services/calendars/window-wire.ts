import type { windowsGet } from "@signalbox/contracts/calendars/windows"
import type { OutputOf } from "@signalbox/contracts/operation"
import { assert } from "@signalbox/kernel/assert"
import { toInstant } from "@signalbox/kernel/clock"
import { toIsoDuration } from "@signalbox/kernel/duration"
import type { WindowSpec } from "./window-model.ts"
import type { WindowRow } from "./window-store.ts"

/** A row as the intervals that it stands for. */
export function specOf(
  row: Pick<WindowRow, "cron" | "at" | "zone" | "durationMs" | "cutoffMs" | "excludedDates">,
): WindowSpec {
  const { cron, at, zone } = row
  assert((cron === null) !== (at === null), "a window opens by a cron text or once")
  return {
    timing: cron === null ? { kind: "once", at: at ?? 0 } : { kind: "cron", cron, zone },
    zone,
    durationMilliseconds: row.durationMs,
    cutoffMilliseconds: row.cutoffMs,
    excludedDates: new Set(row.excludedDates),
  }
}

export function toWindow(row: WindowRow): OutputOf<typeof windowsGet> {
  return {
    id: row.id,
    name: row.name,
    ...(row.description === null ? {} : { description: row.description }),
    ...(row.cron === null ? {} : { cron: row.cron }),
    ...(row.at === null ? {} : { at: toInstant(row.at) }),
    zone: row.zone,
    duration: toIsoDuration(row.durationMs),
    cutoff: toIsoDuration(row.cutoffMs),
    excludedDates: [...row.excludedDates],
    version: row.version,
    createdAt: toInstant(row.createdAt),
    changedAt: toInstant(row.changedAt),
    changedBy: row.changedBy,
  }
}
