import { toInstant } from "@signalbox/kernel/clock"
import type { ExternalOperation } from "../../router/external-ports.ts"
import { apiOf } from "./external-operation.ts"
import type { ServiceRow } from "./store.ts"

/** Rows as the wire shows them. */
export function toService(row: ServiceRow) {
  const { title, apiVersion } = apiOf(row)
  return {
    id: row.id,
    name: row.name,
    ...(row.description === null ? {} : { description: row.description }),
    ...row.spec,
    title,
    apiVersion,
    version: row.version,
    createdAt: toInstant(row.createdAt),
    changedAt: toInstant(row.changedAt),
    changedBy: row.changedBy,
  }
}

export function toCallable({ name, method, path, effect, summary, roles, retrySafe }: ExternalOperation) {
  return { name, method, path, effect, summary, ...(roles ? { roles: [...roles] } : {}), retrySafe }
}
