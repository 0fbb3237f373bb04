import { readFile } from "node:fs/promises"
import { connect } from "node:net"
import { setTimeout as delay } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { nodesList } from "@signalbox/contracts/fleet/operations"
import { AppError } from "@signalbox/kernel/app-error"
import type { Client } from "@signalbox/sdk/client"
import { z } from "zod"
import { demoLimits, demoPlan } from "./demo-plan.ts"
import type { FleetNode } from "./fleet-node.ts"
import type { Workspace } from "./workspace.ts"

/** What a part of the demo needs to start processes. */
export interface DemoContext {
  readonly workspace: Workspace
  /** Variables of every process that the demo starts. */
  readonly environment: NodeJS.ProcessEnv
  readonly signal: AbortSignal
}

const adminFile = z.object({ url: z.string(), key: z.string(), caPem: z.string(), caFingerprint: z.string() })

export interface DemoServer extends z.output<typeof adminFile> {
  readonly processId: number
}

/** The command line as a user has it, run by this very runtime. */
export function signalboxCommand(...words: readonly string[]): string[] {
  return [process.execPath, programPath(), ...words]
}

export function programPath(): string {
  return fileURLToPath(new URL("../../bin/signalbox.js", import.meta.url))
}

/** Nothing of the user's own settings, stored logins, proxies or database may reach the demo. */
export function cleanEnvironment(workspace: Workspace): NodeJS.ProcessEnv {
  const kept = ["PATH", "LANG", "LC_ALL", "USER", "LOGNAME", "TMPDIR", "TZ"]
  const environment = Object.fromEntries(kept.map((name) => [name, process.env[name]]))
  const home = workspace.path("home")
  return { ...environment, HOME: home, XDG_CONFIG_HOME: home, XDG_DATA_HOME: home, NO_COLOR: "1" }
}

/**
 * A server with its own database, TLS and a free port, whose health checks may reach one address of this machine, and
 * whose mail goes to the demo.
 * Resolves when it answers. @throws demo.part-failed
 */
export async function startServer(
  { workspace, environment, signal }: DemoContext,
  { healthAddress, smtpUrl }: { readonly healthAddress: string; readonly smtpUrl: string },
): Promise<DemoServer> {
  const data = workspace.path("server")
  const words = signalboxCommand(
    "serve",
    "--data",
    data,
    "--port",
    "0",
    "--log-level",
    "warn",
    "--egress-allow",
    healthAddress,
    "--smtp-url",
    smtpUrl,
    "--smtp-starttls",
    "never",
    "--smtp-from",
    "Signalbox <signalbox@example.org>",
  )
  const child = workspace.start("server", words, environment)
  const deadline = performance.now() + demoLimits.serverReadyMilliseconds
  while (performance.now() < deadline) {
    signal.throwIfAborted()
    const admin = await readAdminFile(workspace.path("server", "admin.json"))
    if (admin && (await isListening(admin.url))) return { ...admin, processId: child.pid ?? 0 }
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined)
      throw await partFailure(workspace, "server", "the server ended before it answered")
    await delay(demoLimits.pollMilliseconds)
  }
  throw await partFailure(workspace, "server", `the server didn't answer in ${demoLimits.serverReadyMilliseconds} ms`)
}

async function isListening(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url)
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket = connect(Number(port), hostname)
  socket.once("connect", () => resolve(true))
  socket.once("error", () => resolve(false))
  const isOpen = await promise
  socket.destroy()
  return isOpen
}

/** It is there a moment before the server listens. */
async function readAdminFile(path: string): Promise<z.output<typeof adminFile> | undefined> {
  const text = await readFile(path, "utf8").catch(() => undefined)
  if (text === undefined) return undefined
  return adminFile.safeParse(JSON.parse(text)).data
}

/** Enrols a node and starts its agent. @throws demo.part-failed */
export async function startAgent(
  { workspace, environment, signal }: DemoContext,
  node: FleetNode,
  enrollment: { readonly server: DemoServer; readonly key: string },
): Promise<number> {
  const { url, caFingerprint } = enrollment.server
  const place = ["--data", node.agentDirectory]
  const name = `agent-${node.name}`
  const enroll = ["agent", "enroll", "--server", url, "--ca-fingerprint", caFingerprint, "--name", node.name]
  const result = await workspace.run(name, signalboxCommand(...enroll, ...place), {
    environment: { ...environment, SIGNALBOX_ENROLLMENT_KEY: enrollment.key },
    signal,
    timeoutMilliseconds: demoLimits.agentsReadyMilliseconds,
  })
  signal.throwIfAborted()
  if (result.exitCode !== 0)
    throw new AppError("demo.part-failed", `${node.name} could not be enrolled: ${result.output.trim()}`)
  const child = workspace.start(name, signalboxCommand("agent", "run", "--root", node.root, ...place), environment)
  return child.pid ?? 0
}

/** Until the server sees all nodes; that they work is proved later, by what they do. @throws demo.part-failed */
export async function waitForAgents({ workspace, signal }: DemoContext, client: Client): Promise<void> {
  const deadline = performance.now() + demoLimits.agentsReadyMilliseconds
  let online = 0
  while (performance.now() < deadline) {
    signal.throwIfAborted()
    const { items } = await client.call(nodesList, { state: "online" }, { signal })
    online = items.length
    if (online === demoPlan.nodesCount) return
    await delay(demoLimits.pollMilliseconds)
  }
  throw await partFailure(workspace, "agent-web-01", `only ${online} of ${demoPlan.nodesCount} agents came online`)
}

/** The log is quoted, since it is gone with the folder. */
export async function partFailure(workspace: Workspace, part: string, message: string): Promise<AppError> {
  const text = await readFile(workspace.logPath(part), "utf8").catch(() => "")
  const tail = text.trim().split("\n").slice(-demoLimits.logTailLines).join("\n")
  return new AppError("demo.part-failed", tail === "" ? message : `${message}; its log ends with:\n${tail}`)
}
