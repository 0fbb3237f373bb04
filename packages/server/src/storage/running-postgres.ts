import { readFile, realpath } from "node:fs/promises"
import { join } from "node:path"
import type { Connection } from "./database.ts"

/**
 * How to reach the private PostgreSQL that a server is running on a data directory, for commands that may work beside
 * it; undefined where none runs. Its socket lets in nobody but its own user and root.
 */
export async function findRunningPostgres(dataDirectory: string): Promise<Connection | undefined> {
  const path = join(await realpath(dataDirectory), "postgres", "postmaster.pid")
  const lines = (await readFile(path, "utf8").catch(() => "")).split("\n")
  const [port, socketDirectory, state] = [Number(lines[3]), lines[4], lines[7]?.trim()]
  if (!port || !socketDirectory || state !== "ready") return undefined
  return { host: socketDirectory, port, user: "signalbox", database: "signalbox" }
}
