/**
 * `npm run bench -- NAME [--json]`: runs a benchmark and its peers in one sitting, and ends with one line of figures.
 * Each contender runs in a process of its own, one after the other, in turns, on a database of its own in the same
 * PostgreSQL (the bundled one, durable settings).
 */
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { statSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { makeRunDirectory } from "@signalbox/testkit/run-directory"

const here = fileURLToPath(new URL(".", import.meta.url))
const names = [
  "orchestrator",
  "api",
  "footprint",
  "fleet",
  "signals",
  "relay",
  "rollout",
  "approvals",
  "rules",
  "gateway",
] as const

const [name = "", ...rest] = process.argv.slice(2)
if (!names.some((known) => known === name)) {
  process.stderr.write(`usage: npm run bench -- ${names.join("|")} [--json]\n`)
  process.exit(2)
}
if (!isInstalled()) {
  const installed = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--prefix", here], { stdio: "inherit" })
  if (installed.status !== 0) process.exit(1)
}
const directory = await makeRunDirectory("signalbox-bench-run-")
const benchmark = spawn(process.execPath, [`${here}${name}/main.ts`, ...rest], { stdio: "inherit" })
// A terminal sends Ctrl-C to both; the other one ends first.
process.on("SIGINT", () => {})
process.on("SIGTERM", () => benchmark.kill())
const [status] = (await once(benchmark, "exit")) as [number | null]
await directory.remove()
process.exit(status ?? 1)

/** Not before the lockfile last changed. */
function isInstalled(): boolean {
  const changedAt = (path: string): number => statSync(here + path, { throwIfNoEntry: false })?.mtimeMs ?? 0
  return changedAt("node_modules/.package-lock.json") >= changedAt("package-lock.json")
}
