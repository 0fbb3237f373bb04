import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { findProcess, isIdentityAlive } from "./process-identity.ts"

/** What a running PostgreSQL says about itself in `postmaster.pid` of its data directory. */
export interface PostmasterFile {
  readonly processId: number
  readonly socketDirectory: string
  readonly ready: boolean
}

export async function findPostmasterFile(cluster: string): Promise<PostmasterFile | undefined> {
  const text = await readFile(join(cluster, "postmaster.pid"), "utf8").catch(() => "")
  const lines = text.split("\n")
  const processId = Number(lines[0])
  if (!Number.isInteger(processId) || processId <= 0) return undefined
  return { processId, socketDirectory: lines[4] ?? "", ready: lines[7]?.trim() === "ready" }
}

/** Who stands behind the `postmaster.pid` that a starting server finds. */
export type ClusterHolder =
  | { readonly kind: "none" }
  | { readonly kind: "live-server"; readonly processId: number }
  | { readonly kind: "orphan"; readonly processId: number; readonly socketDirectory: string }

/** Our servers start PostgreSQL with their own identity as its cluster name, which its command line then shows. */
const clusterNamePrefix = "cluster_name=signalbox "

export function clusterNameSetting(serverIdentity: string): string {
  return `${clusterNamePrefix}${serverIdentity}`
}

export async function findClusterHolder(cluster: string): Promise<ClusterHolder> {
  const file = await findPostmasterFile(cluster)
  if (!file) return { kind: "none" }
  const { processId, socketDirectory } = file
  const found = await findProcess(processId)
  if (!found) return { kind: "none" }
  const command = found.args.join(" ")
  if (!command.includes(`-D ${cluster}`)) {
    await disown(cluster)
    return { kind: "none" }
  }
  const server = command.split(clusterNamePrefix)[1]?.split(" ")[0]
  if (server === undefined || (await isIdentityAlive(server))) return { kind: "live-server", processId }
  return { kind: "orphan", processId, socketDirectory }
}

/**
 * The process number in the file belongs to an unrelated program now, which PostgreSQL could take for itself. A number
 * that no process has makes it look further: it still refuses while old backends hold its shared memory.
 */
async function disown(cluster: string): Promise<void> {
  const path = join(cluster, "postmaster.pid")
  const [, ...rest] = (await readFile(path, "utf8")).split("\n")
  await writeFile(path, ["2147483646", ...rest].join("\n"))
}
