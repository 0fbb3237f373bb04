import type { actionsGet, actionsList, actionsStorms } from "@signalbox/contracts/actions/operations"
import type { OutputOf } from "@signalbox/contracts/operation"
import { toInstant } from "@signalbox/kernel/clock"
import { runUrl } from "../../router/action-run-id.ts"
import type { RunRow } from "./run-store.ts"
import type { StormRow } from "./storm-store.ts"

export type ActionRun = OutputOf<typeof actionsList>["items"][number]

export function toRun(row: RunRow, publicUrl: string): ActionRun {
  const { id, state, rule, number, event, operation, targets, author, cause, depth, attempts, nextAt } = row
  return {
    ...{ id, url: runUrl(publicUrl, id), state, rule, version: row.ruleVersion, number },
    trigger: { id: event.id, type: event.type, subject: event.subject },
    ...{ operation, targets: [...targets], author, cause, depth, attempts },
    ...((state === "queued" || state === "failed") && nextAt !== null ? { nextAttemptAt: toInstant(nextAt) } : {}),
    ...(row.requestUrl === null ? {} : { requestUrl: row.requestUrl }),
    ...(row.started === null ? {} : { started: row.started }),
    ...(row.error === null ? {} : { error: row.error }),
    createdAt: toInstant(row.createdAt),
    ...(row.finishedAt === null ? {} : { finishedAt: toInstant(row.finishedAt) }),
  }
}

export function toRunDetails(row: RunRow, publicUrl: string): OutputOf<typeof actionsGet> {
  const tries = row.tries.map((tried) => ({ ...tried, at: toInstant(tried.at) }))
  return { ...toRun(row, publicUrl), input: row.input, tries }
}

export function toStorm(row: StormRow): OutputOf<typeof actionsStorms>["items"][number] {
  const { rule, fired, suppressed, dropped, groupsCount: groups, evicted } = row
  return {
    ...{ rule, fired, suppressed, dropped, groups, evicted },
    ...(row.lastFiredAt === null ? {} : { lastFiredAt: toInstant(row.lastFiredAt) }),
    ...(row.lastDroppedAt === null ? {} : { lastDroppedAt: toInstant(row.lastDroppedAt) }),
    ...(row.lastDroppedReason === null ? {} : { lastDroppedReason: row.lastDroppedReason }),
    ...(row.lastError === null ? {} : { lastError: row.lastError }),
    ...(row.lastErrorAt === null ? {} : { lastErrorAt: toInstant(row.lastErrorAt) }),
  }
}
