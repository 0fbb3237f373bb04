import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { findProcess, isIdentityAlive } from "./process-identity.ts"

/** What a running PostgreSQL says about itself in `postmaster.pid` of its data directory. */
export interface PostmasterFile {
  readonly processId: number
  readonly ready: boolean
}

export async function findPostmasterFile(cluster: string): Promise<PostmasterFile | undefined> {
  const text = await readFile(join(cluster, "postmaster.pid"), "utf8").catch(() => "")
  const lines = text.split("\n")
  const processId = Number(lines[0])
  if (!Number.isInteger(processId) || processId <= 0) return undefined
  return { processId, ready: lines[7]?.trim() === "ready" }
}

/** Who stands behind the `postmaster.pid` that a starting server finds. */
export type ClusterHolder =
  | { readonly kind: "none" }
  | { readonly kind: "live-server"; readonly processId: number }
  | { readonly kind: "orphan"; readonly processId: number }

/** Our servers start PostgreSQL with their own identity as its cluster name, which its command line then shows. */
const clusterNamePrefix = "cluster_name=signalbox "

export function clusterNameSetting(serverIdentity: string): string {
  return `${clusterNamePrefix}${serverIdentity}`
}

export async function findClusterHolder(cluster: string): Promise<ClusterHolder> {
  const file = await findPostmasterFile(cluster)
  if (!file) return { kind: "none" }
  const { processId } = file
  const command = (await findProcess(processId))?.args.join(" ")
  if (command === undefined || !command.includes(`-D ${cluster}`)) {
    await disown(cluster)
    return { kind: "none" }
  }
  const server = command.split(clusterNamePrefix)[1]?.split(" ")[0]
  if (server === undefined || (await isIdentityAlive(server))) return { kind: "live-server", processId }
  return { kind: "orphan", processId }
}

/**
 * The process is gone (or waits, dead, for a parent to notice), or its number belongs to an unrelated program: PostgreSQL
 * could take either for itself. A number that no process has makes it look further, and it still refuses while old
 * backends hold its shared memory.
 */
async function disown(cluster: string): Promise<void> {
  const path = join(cluster, "postmaster.pid")
  const [, ...rest] = (await readFile(path, "utf8")).split("\n")
  await writeFile(path, ["2147483646", ...rest].join("\n"))
}
