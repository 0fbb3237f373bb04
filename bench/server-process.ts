/** A server as people run it: the compiled command in a process of its own. */
import { spawn, type ChildProcess } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Agent, Pool, request } from "undici"
import type { Connection } from "./measure.ts"

export interface ServerProcess {
  readonly url: string
  readonly key: string
  readonly caPem?: string
  readonly data: string
  readonly process: ChildProcess
  /** From spawning the process to the first answer. */
  readonly secondsToAnswer: number
  stop(): Promise<void>
}

export const commandPath = fileURLToPath(new URL("../packages/cli/bin/signalbox.js", import.meta.url))

export interface ServerOptions {
  /** Without a connection the server starts its private database. */
  readonly connection?: Connection
  readonly flags?: Readonly<Record<string, string>>
  /** A directory that outlives the process. */
  readonly data?: string
  /** As nodes meet it; plain HTTP otherwise. */
  readonly tls?: boolean
}

export async function startServerProcess(options: ServerOptions = {}): Promise<ServerProcess> {
  const { connection, flags = {}, data, tls = false } = options
  const directory = data ?? (await mkdtemp(join(tmpdir(), "signalbox-bench-server-")))
  const address =
    connection &&
    `postgres://${connection.user}@/${connection.database}?host=${encodeURIComponent(connection.host)}&port=${connection.port}`
  const args = [
    "serve",
    "--data",
    directory,
    "--port",
    "0",
    ...(tls ? [] : ["--insecure"]),
    "--log-level",
    "warn",
    ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]),
  ]
  const begin = performance.now()
  const child = spawn(process.execPath, [commandPath, ...args], {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, ...(address ? { DATABASE_URL: address } : {}) },
  })
  const admin = await waitForAnswer(join(directory, "admin.json"), child)
  return {
    ...admin,
    data: directory,
    process: child,
    secondsToAnswer: (performance.now() - begin) / 1000,
    async stop() {
      const ended = new Promise((resolve) => child.once("exit", resolve))
      child.kill("SIGTERM")
      await ended
      if (data === undefined) await rm(directory, { recursive: true, force: true })
    },
  }
}

async function waitForAnswer(path: string, child: ChildProcess): Promise<{ url: string; key: string; caPem?: string }> {
  for (const end = performance.now() + 60_000; performance.now() < end;) {
    if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}`)
    try {
      const admin = JSON.parse(await readFile(path, "utf8")) as { url?: string; key: string; caPem?: string }
      if (admin.url) {
        const dispatcher = new Agent({ connect: { ca: admin.caPem } })
        const { statusCode, body } = await request(`${admin.url}/readyz`, { dispatcher })
        await body.dump()
        await dispatcher.close()
        if (statusCode === 200) return admin as { url: string; key: string }
      }
    } catch {
      // not there yet
    }
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error("the server did not answer within a minute")
}

/** Calls operations by their names, with the first administrator's key. */
export function callerOf(server: ServerProcess, connections = 4) {
  const pool = new Pool(server.url, { connections, ...(server.caPem ? { connect: { ca: server.caPem } } : {}) })
  const call = async <T>(operation: string, input: object): Promise<T> => {
    const { statusCode, body } = await pool.request({
      method: "POST",
      path: `/v1/operations/${operation}`,
      headers: {
        authorization: `Bearer ${server.key}`,
        "content-type": "application/json",
        "idempotency-key": `bench-${Math.random()}`,
      },
      body: JSON.stringify(input),
    })
    const text = await body.text()
    if (statusCode !== 200) throw new Error(`${operation}: ${statusCode} ${text}`)
    return JSON.parse(text) as T
  }
  return { call, close: () => pool.close() }
}

export type Caller = ReturnType<typeof callerOf>

/** Resident megabytes of a process, from /proc. */
export async function residentMegabytes(processId: number): Promise<number> {
  const status = await readFile(`/proc/${processId}/status`, "utf8")
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024
}

/** Seconds of processor time that a process has used, from /proc. */
export async function processorSeconds(processId: number): Promise<number> {
  const stat = await readFile(`/proc/${processId}/stat`, "utf8")
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Seconds of processor time of a process and of all below it, those that have ended too, from /proc. */
export function processorSecondsOfTree(processId: number): number {
  const processes = readdirSync("/proc").flatMap((name) =>
    /^\d+$/.test(name) ? (readProcess(Number(name)) ?? []) : [],
  )
  const children = Map.groupBy(processes, ({ parent }) => parent)
  const secondsOf = (id: number): number =>
    (children.get(id) ?? []).reduce((sum, child) => sum + child.seconds + secondsOf(child.id), 0)
  return (readProcess(processId)?.seconds ?? 0) + secondsOf(processId)
}

/** With the time of children that were waited for. */
function readProcess(id: number): { id: number; parent: number; seconds: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${id}/stat`, "utf8")
    const fields = stat
      .slice(stat.lastIndexOf(")") + 2)
      .split(" ")
      .map(Number)
    const ticks = [11, 12, 13, 14].reduce((sum, field) => sum + (fields[field] ?? 0), 0)
    return { id, parent: fields[1] ?? 0, seconds: ticks / 100 }
  } catch {
    return undefined
  }
}
