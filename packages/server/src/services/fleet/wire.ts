import type { enrollmentKey, node, nodeGroup } from "@signalbox/contracts/fleet/operations"
import { toInstant } from "@signalbox/kernel/clock"
import type { z } from "zod"
import type { EnrollmentKeyRow } from "./enrollment-key-store.ts"
import type { GroupRow } from "./group-store.ts"
import type { NodeRow } from "./node-store.ts"

/** Rows as the operations show them. */

export function toNode(row: NodeRow): z.output<typeof node> {
  return {
    id: row.id,
    name: row.name,
    kind: row.kind,
    state: stateOf(row),
    ...(row.runner === null ? {} : { runner: row.runner }),
    tags: { ...row.tags },
    ...(row.agentVersion === null ? {} : { agentVersion: row.agentVersion }),
    ...(row.os === null ? {} : { os: row.os }),
    ...(row.architecture === null ? {} : { architecture: row.architecture }),
    ...(row.packagesInstalled === null ? {} : { packagesInstalled: row.packagesInstalled }),
    ...(row.packagesPending === null ? {} : { packagesPending: row.packagesPending }),
    enrolledAt: toInstant(row.enrolledAt),
    ...(row.lastSeenAt === null ? {} : { lastSeenAt: toInstant(row.lastSeenAt) }),
  }
}

function stateOf({ kind, heldAt, online }: NodeRow): z.output<typeof node>["state"] {
  if (kind !== "node") return "registered"
  if (heldAt !== null) return "held"
  return online ? "online" : "offline"
}

export function toEnrollmentKey(row: EnrollmentKeyRow): z.output<typeof enrollmentKey> {
  return {
    id: row.id,
    ...(row.name === null ? {} : { name: row.name }),
    usesMax: row.usesMax,
    usesCount: row.usesCount,
    expiresAt: toInstant(row.expiresAt),
    sourceRanges: [...row.sourceRanges],
    tags: { ...row.tags },
    createdAt: toInstant(row.createdAt),
    createdBy: row.createdBy,
    ...(row.revokedAt === null ? {} : { revokedAt: toInstant(row.revokedAt) }),
  }
}

export function toGroup(row: GroupRow): z.output<typeof nodeGroup> {
  return {
    name: row.name,
    ...(row.description === null ? {} : { description: row.description }),
    ...(row.query === null ? {} : { query: row.query }),
    ...(row.nodes === null ? {} : { nodes: [...row.nodes] }),
    createdAt: toInstant(row.createdAt),
    changedAt: toInstant(row.changedAt),
  }
}
