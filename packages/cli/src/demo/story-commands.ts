import { writeFileSync } from "node:fs"
import { setTimeout as delay } from "node:timers/promises"
import { AppError } from "@signalbox/kernel/app-error"
import { demoLimits } from "./demo-plan.ts"
import { type DemoServer, signalboxCommand } from "./demo-server.ts"
import type { RunParts } from "./run-parts.ts"

/** What a story that uses the command line needs. */
export interface CommandParts extends RunParts {
  readonly server: DemoServer
}

/** Runs the command line, shows it with what it said, and gives that. @throws demo.part-failed */
export async function runCommand(parts: CommandParts, words: readonly string[]): Promise<string> {
  const { workspace, environment, server, signal, screen } = parts
  const caFile = workspace.path("ca.pem")
  writeFileSync(caFile, server.caPem)
  const result = await workspace.run("command", signalboxCommand(...words), {
    environment: {
      ...environment,
      SIGNALBOX_SERVER: server.url,
      SIGNALBOX_KEY: server.key,
      SIGNALBOX_CA_FILE: caFile,
    },
    signal,
    timeoutMilliseconds: demoLimits.commandMilliseconds,
  })
  signal.throwIfAborted()
  const command = `signalbox ${words.join(" ")}`
  if (result.exitCode !== 0)
    throw new AppError("demo.part-failed", `${command} ended with ${result.exitCode}: ${result.output.trim()}`)
  screen.line(`  ${screen.paint("bold", `$ ${command}`)}`)
  for (const line of result.output.trimEnd().split("\n")) screen.line(`  ${screen.paint("gray", line)}`)
  return result.output
}

/** Shows documents and applies them by the command line, as a file of this name. @throws demo.part-failed */
export async function applyDocuments(parts: CommandParts, name: string, documents: string): Promise<void> {
  const { screen, workspace } = parts
  for (const line of documents.trimEnd().split("\n")) screen.line(`  ${screen.paint("gray", line)}`)
  writeFileSync(workspace.path(name), documents)
  await runCommand(parts, ["apply", "-f", name])
}

/** Looks again and again until there is something. @throws demo.part-failed */
export async function waitUntil<Found>(
  { signal }: Pick<RunParts, "signal">,
  what: string,
  look: () => Promise<Found | undefined>,
): Promise<Found> {
  const deadline = performance.now() + demoLimits.executionMilliseconds
  while (performance.now() < deadline) {
    signal.throwIfAborted()
    const found = await look()
    if (found !== undefined) return found
    await delay(demoLimits.pollMilliseconds)
  }
  throw new AppError("demo.part-failed", `${what} was not there in ${demoLimits.executionMilliseconds} ms`)
}
