import { execFile } from "node:child_process"
import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import { errorText } from "./agent-logger.ts"
import { findProgram } from "./find-program.ts"
import { baseEnvironment } from "./process-owner.ts"

/**
 * Extended attributes of a tree, read and set by the system's `getfattr` and `setfattr`, as this runtime can't. Where they
 * are not on the node, nothing is said about attributes, and the rollback lists them as not covered.
 */
const fileName = "attributes"
const outputBytesMax = 64 * 1024 * 1024
const timeoutMilliseconds = 120_000
const run = promisify(execFile)

/** By path, as getfattr writes it, and name; values as getfattr writes them. */
type Attributes = ReadonlyMap<string, ReadonlyMap<string, string>>

const notCovered = ["extended attributes: getfattr and setfattr are not on this node"]

function environment(root: string) {
  const { PATH = "" } = baseEnvironment(root, { name: "", home: "/" })
  return { PATH, LC_ALL: "C" }
}

async function dump(root: string): Promise<string | undefined> {
  const env = environment(root)
  const [reader, setter] = await Promise.all(["getfattr", "setfattr"].map((name) => findProgram(name, env.PATH)))
  if (reader === undefined || setter === undefined) return undefined
  const words = ["-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", "--", "."]
  const options = { cwd: root, env, maxBuffer: outputBytesMax, timeout: timeoutMilliseconds }
  return (await run(reader, words, options)).stdout
}

/** Keeps the attributes of a tree beside its other saved state. Returns the bytes kept. */
export async function readAttributes(root: string, into: string): Promise<number> {
  const text = await dump(root)
  if (text === undefined) return 0
  await writeFile(join(into, fileName), text, { mode: 0o600, flush: true })
  return Buffer.byteLength(text)
}

/** Sets and removes what differs, then looks again. */
export async function restoreAttributes(
  root: string,
  from: string,
): Promise<{ problems: string[]; notCovered: string[] }> {
  const saved = await readFile(join(from, fileName), "utf8").catch(() => undefined)
  const present = saved === undefined ? undefined : await dump(root)
  if (saved === undefined || present === undefined) return { problems: [], notCovered }
  const was = parse(saved)
  const problems: string[] = []
  for (const { path, name, value } of changes(was, parse(present))) {
    const act = value === undefined ? ["-x", name] : ["-n", name, "-v", value]
    const options = { cwd: root, env: environment(root), timeout: timeoutMilliseconds }
    await run("setfattr", ["-h", ...act, "--", unescape(path)], options).catch((error: unknown) => {
      problems.push(`attribute ${name} of ${path}: ${errorText(error).slice(0, 200)}`)
    })
  }
  if (problems.length === 0 && changes(was, parse((await dump(root)) ?? "")).length > 0) {
    problems.push("the extended attributes are not what they were")
  }
  return { problems, notCovered: [] }
}

function parse(text: string): Attributes {
  const all = new Map<string, Map<string, string>>()
  let current: Map<string, string> | undefined
  for (const line of text.split("\n")) {
    const path = /^# file: (.*)$/.exec(line)?.[1]
    if (path !== undefined) all.set(path, (current = new Map()))
    const at = line.indexOf("=")
    if (path === undefined && current && line !== "") {
      current.set(at === -1 ? line : line.slice(0, at), at === -1 ? "" : line.slice(at + 1))
    }
  }
  return all
}

/** What to set so that `is` becomes `was`; without a value: to remove. */
function changes(was: Attributes, is: Attributes): Array<{ path: string; name: string; value?: string }> {
  const found: Array<{ path: string; name: string; value?: string }> = []
  for (const [path, names] of was)
    for (const [name, value] of names) if (is.get(path)?.get(name) !== value) found.push({ path, name, value })
  for (const [path, names] of is)
    for (const name of names.keys()) if (was.get(path)?.get(name) === undefined) found.push({ path, name })
  return found
}

/** getfattr writes odd bytes of a name as three octal digits. */
function unescape(path: string): string {
  const bytes: number[] = []
  const text = Buffer.from(path)
  for (let at = 0; at < text.length; at++) {
    const octal = text[at] === 0x5c ? /^[0-7]{3}/.exec(text.toString("latin1", at + 1, at + 4))?.[0] : undefined
    bytes.push(octal === undefined ? (text[at] ?? 0) : Number.parseInt(octal, 8))
    if (octal !== undefined) at += 3
  }
  return Buffer.from(bytes).toString("utf8")
}
