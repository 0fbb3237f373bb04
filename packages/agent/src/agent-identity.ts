import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto"
import { open, readFile, rename } from "node:fs/promises"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { homedir, hostname } from "node:os"
import { join } from "node:path"
import { AppError } from "@signalbox/kernel/app-error"
import { syncDirectory } from "./journal.ts"

/** `identity.json`: who this agent is, and to whom. Written once, by enrolment. */
export interface AgentIdentity {
  readonly version: 1
  readonly node: string
  readonly name: string
  readonly account: string
  /** Without a slash at its end. */
  readonly serverUrl: string
  /** The only trust for this server, as PEM; absent where the system's is used, or on plain HTTP. */
  readonly caFile?: string
  readonly insecure?: boolean
}

const identityFile = "identity.json"
const keyFile = "agent-key.pem"

/** Where an agent keeps its state unless told otherwise: a system directory for root, the user's own otherwise. */
export function defaultDataDirectory(): string {
  if (process.geteuid?.() === 0) return "/var/lib/signalbox-agent"
  return join(process.env["XDG_DATA_HOME"] || join(homedir(), ".local", "share"), "signalbox-agent")
}

/** @throws agent.not-enrolled, agent.state-damaged */
export async function readIdentity(directory: string): Promise<AgentIdentity> {
  const text = await readFile(join(directory, identityFile), "utf8").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") throw new AppError("agent.not-enrolled", `${directory} holds no identity`, { cause })
    throw new AppError("agent.state-damaged", `${identityFile} in ${directory} can't be read`, { cause })
  })
  try {
    const identity = JSON.parse(text) as Partial<AgentIdentity>
    const { version, node, name, account, serverUrl } = identity
    if (version === 1 && node && name && account && serverUrl) return identity as AgentIdentity
  } catch (cause) {
    throw new AppError("agent.state-damaged", `${identityFile} in ${directory} is no JSON`, { cause })
  }
  throw new AppError("agent.state-damaged", `${identityFile} in ${directory} lacks fields`)
}

export async function writeIdentity(directory: string, identity: AgentIdentity): Promise<void> {
  await writePrivateFile(directory, identityFile, `${JSON.stringify(identity, undefined, 2)}\n`)
}

/** @throws agent.state-damaged */
export async function readPrivateKey(directory: string): Promise<KeyObject> {
  try {
    return createPrivateKey(await readFile(join(directory, keyFile)))
  } catch (cause) {
    throw new AppError("agent.state-damaged", `the key ${keyFile} in ${directory} can't be read`, { cause })
  }
}

/** A new Ed25519 key, on disk before it is used. */
export async function makePrivateKey(directory: string): Promise<KeyObject> {
  const { privateKey } = generateKeyPairSync("ed25519")
  await writePrivateFile(directory, keyFile, privateKey.export({ type: "pkcs8", format: "pem" }))
  return privateKey
}

/** Replaces a file at once and durably, readable by its owner only. */
export async function writePrivateFile(directory: string, name: string, content: string | Buffer): Promise<void> {
  const draft = join(directory, `${name}.draft`)
  const file = await open(draft, "w", 0o600)
  try {
    await file.chmod(0o600)
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(draft, join(directory, name))
  await syncDirectory(directory)
}

/** The machine's own id; where it has none (Alpine, many containers), one made of its name and its network cards. */
export function readMachineId(): string {
  for (const path of ["/etc/machine-id", "/var/lib/dbus/machine-id"]) {
    try {
      const text = readFileSync(path, "utf8").trim()
      if (/^[0-9a-f]{32}$/.test(text)) return text
    } catch {
      continue
    }
  }
  return makeMachineId(hostname(), "/sys/class/net")
}

/**
 * Of cards that are there, whether they are up or not, and of nothing that comes and goes with containers and tunnels:
 * an id that changes would hold the node as a clone at the next start.
 */
export function makeMachineId(host: string, networkDirectory: string): string {
  const addresses = new Set<string>()
  for (const name of listNames(networkDirectory)) {
    const card = join(networkDirectory, name)
    if (!existsSync(join(card, "device"))) continue
    try {
      addresses.add(readFileSync(join(card, "address"), "utf8").trim())
    } catch {
      continue
    }
  }
  return createHash("sha256")
    .update([host, ...[...addresses].toSorted()].join("\n"))
    .digest("hex")
    .slice(0, 32)
}

function listNames(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
