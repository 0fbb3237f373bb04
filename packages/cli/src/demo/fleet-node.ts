import { chmod, mkdir, readFile, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { dirname, join } from "node:path"
import { AppError } from "@signalbox/kernel/app-error"
import { demoLimits, demoPlan, type Fault } from "./demo-plan.ts"
import { copyFiles, type FileCopy } from "./file-copy.ts"
import { configurationPath, serviceFiles } from "./service-files.ts"
import type { Workspace } from "./workspace.ts"

/** One machine of the demo: a root of its own with a service in it, and the folder of its agent. */
export interface FleetNode {
  readonly name: string
  readonly root: string
  readonly agentDirectory: string
  readonly port: number
  readonly fault: Fault
}

/** Below the ports that systems hand out by themselves, so that a restarting service finds its own still free. */
const ports = { min: 20_000, max: 31_999, triesMax: 500 } as const
/** What changes by itself while a service runs. */
const runtimeFolders = ["run", "log"] as const

export async function makeNodes(workspace: Workspace, faults: ReadonlyMap<number, Fault>): Promise<FleetNode[]> {
  const taken = new Set<number>()
  const nodes: FleetNode[] = []
  for (let number = 1; number <= demoPlan.nodesCount; number++) {
    const name = `web-${String(number).padStart(2, "0")}`
    const node: FleetNode = {
      name,
      root: workspace.path("nodes", name, "root"),
      agentDirectory: workspace.path("nodes", name, "agent"),
      port: await findFreePort(taken),
      fault: faults.get(number) ?? "none",
    }
    await writeRoot(node)
    nodes.push(node)
  }
  return nodes
}

async function writeRoot(node: FleetNode): Promise<void> {
  const { port, fault } = node
  const files = serviceFiles({ port, fault, version: demoPlan.versionBefore, node: process.execPath })
  for (const folder of runtimeFolders) await mkdir(join(node.root, folder), { recursive: true })
  for (const file of files) {
    const path = join(node.root, file.path)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, file.content)
    await chmod(path, file.mode)
  }
}

async function findFreePort(taken: Set<number>): Promise<number> {
  for (let tries = 0; tries < ports.triesMax; tries++) {
    const port = ports.min + Math.floor(Math.random() * (ports.max - ports.min + 1))
    if (taken.has(port) || !(await canListen(port))) continue
    taken.add(port)
    return port
  }
  throw new AppError("demo.part-failed", `no free port was found from ${ports.min} to ${ports.max} on 127.0.0.1`)
}

async function canListen(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const probe = createServer()
  probe.once("error", () => resolve(false))
  probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)))
  return promise
}

/** @throws demo.part-failed */
export async function startService(
  workspace: Workspace,
  node: FleetNode,
  options: { readonly environment: NodeJS.ProcessEnv; readonly signal: AbortSignal },
): Promise<void> {
  const result = await workspace.run(`service-${node.name}`, ["./bin/service", "start"], {
    ...options,
    directory: node.root,
    timeoutMilliseconds: demoLimits.servicesReadyMilliseconds,
  })
  if (result.exitCode === 0) return
  throw new AppError("demo.part-failed", `the service of ${node.name} didn't start: ${result.output.trim()}`)
}

/** A node's own state, read from its disk. */
export interface NodeFiles {
  readonly files: ReadonlyMap<string, FileCopy>
  readonly configuration: string
  readonly serviceStarts: number
}

export async function readNodeFiles(node: FleetNode): Promise<NodeFiles> {
  const starts = await readFile(join(node.root, "log", "starts"), "utf8").catch(() => "")
  return {
    files: await copyFiles(node.root, runtimeFolders),
    configuration: await readFile(join(node.root, configurationPath), "latin1").catch(() => ""),
    serviceStarts: starts.split("\n").length - 1,
  }
}
