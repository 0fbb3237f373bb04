import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import { exitCodeOf, exitCodes } from "../exit-codes.ts"
import { renderError } from "../output/print-error.ts"
import type { Claim } from "./claims.ts"
import { type DemoFleet, startFleet } from "./demo-fleet.ts"
import { type Footprint, type KeptDemo, showClaims, showFigures, showNext } from "./demo-report.ts"
import { DemoScreen } from "./demo-screen.ts"
import { cleanEnvironment, type DemoContext, partFailure } from "./demo-server.ts"
import { databaseMegabytes, installedMegabytes, residentMegabytes } from "./footprint.ts"
import { nightStory } from "./night-story.ts"
import { rolloutStory } from "./rollout-story.ts"
import { rulesStory } from "./rules-story.ts"
import { searchSecret } from "./secret-search.ts"
import { quoteShell } from "./service-files.ts"
import type { Story } from "./story.ts"
import { Workspace } from "./workspace.ts"

export interface DemoOptions {
  /** Nothing on standard output but one last line of JSON. */
  readonly json: boolean
  /** Leave everything running at the end. */
  readonly keep: boolean
  readonly story?: string
}

/** Each is told over a fleet of its own; CI tells them all. */
const stories: Readonly<Record<string, Story>> = { rollout: rolloutStory, night: nightStory, rules: rulesStory }
const firstStory = "rollout"
const stopSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const

/**
 * A fleet on this machine, a change that goes wrong on two nodes, a run that stops itself, and the proof. Returns the
 * exit code: 0 only where every claim holds. Whatever it started is gone when it returns, unless `keep`.
 */
export async function runDemo(options: DemoOptions): Promise<number> {
  const screen = new DemoScreen(options.json ? process.stderr : process.stdout)
  const stop = new AbortController()
  const onSignal = (signal: NodeJS.Signals) => {
    // At the second one nobody waits for the rest: the guard puts things in order.
    if (stop.signal.aborted) process.exit(exitCodes.interrupted)
    stop.abort(signal)
  }
  for (const signal of stopSignals) process.on(signal, onSignal)
  try {
    return await play(options, screen, stop.signal)
  } catch (error) {
    if (stop.signal.aborted) {
      screen.line()
      screen.line("Stopped; everything that was started is gone.")
      if (options.json) process.stdout.write(`${JSON.stringify({ ok: false, interrupted: true })}\n`)
      return exitCodes.interrupted
    }
    return fail(options, error)
  } finally {
    for (const signal of stopSignals) process.removeListener(signal, onSignal)
  }
}

function fail(options: DemoOptions, failure: unknown): number {
  const error = isAppError(failure)
    ? failure
    : new AppError("demo.part-failed", failure instanceof Error ? failure.message : String(failure), { cause: failure })
  process.stderr.write(`${renderError(error, "signalbox demo")}\n`)
  const { code, message } = error
  if (options.json) process.stdout.write(`${JSON.stringify({ ok: false, error: { code, message } })}\n`)
  return exitCodeOf(error)
}

/** @throws cli.usage */
function findStory(name: string = firstStory): Story {
  const story = Object.hasOwn(stories, name) ? stories[name] : undefined
  if (story) return story
  throw new AppError("cli.usage", `there is no story "${name}"; there are: ${Object.keys(stories).join(", ")}`)
}

async function play(options: DemoOptions, screen: DemoScreen, signal: AbortSignal): Promise<number> {
  const story = findStory(options.story)
  const workspace = Workspace.create()
  let fleet: DemoFleet | undefined
  try {
    const context: DemoContext = { workspace, signal, environment: cleanEnvironment(workspace) }
    screen.line(screen.paint("bold", `Signalbox demo: ${story.headline}`))
    screen.line(`Everything runs in ${workspace.directory}, and is removed at the end.`)
    screen.line()
    fleet = await startFleet(context, screen, story)
    const told = await story.tell(context, fleet, screen)
    const secret = await searchSecret(fleet.client, fleet.secret, {
      nodes: fleet.nodes,
      logsDirectory: workspace.path("logs"),
      executionIds: told.executionIds,
    })
    const claims = told.judge(secret)
    fleet.prober.stop()
    showClaims(screen, "Proof, from outside the server", claims)
    const figures = await measure(workspace, fleet)
    await fleet.client.close()
    const kept = options.keep ? await keep(workspace, fleet) : undefined
    if (!kept) claims.push(await leaveNothing(workspace, fleet, screen))
    const report = told.report({ claims, figures, ...(kept && { kept }) })
    showFigures(screen, report)
    showNext(screen, kept)
    if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`)
    return report.ok ? exitCodes.ok : exitCodes.negative
  } catch (error) {
    const hasDied = fleet && workspace.ownProcesses([fleet.server.processId]).length === 0
    if (!hasDied || signal.aborted) throw error
    throw await partFailure(workspace, "server", "the server ended in the middle of the demo")
  } finally {
    fleet?.prober.stop()
    fleet?.health.stop()
    fleet?.mailbox.stop()
    await fleet?.client.close()
    await workspace.remove()
  }
}

async function measure(workspace: Workspace, fleet: DemoFleet): Promise<Footprint> {
  const agents = await Promise.all(fleet.agentProcessIds.map(residentMegabytes))
  const known = agents.filter((megabytes) => megabytes !== null)
  return {
    serverMegabytes: await residentMegabytes(fleet.server.processId),
    databaseMegabytes: await databaseMegabytes(databaseProcessId(workspace)),
    agentMegabytes: known.length === 0 ? null : Math.max(...known),
    installedMegabytes: await installedMegabytes(),
  }
}

function databaseProcessId(workspace: Workspace): number {
  const path = workspace.path("server", "postgres", "postmaster.pid")
  try {
    return Number(readFileSync(path, "utf8").split("\n")[0])
  } catch {
    return 0
  }
}

async function keep(workspace: Workspace, { server }: DemoFleet): Promise<KeptDemo> {
  const caFile = workspace.path("ca.pem")
  writeFileSync(caFile, server.caPem)
  await workspace.keep()
  return { url: server.url, key: server.key, caFile, stop: `sh ${quoteShell(workspace.stopScript)}` }
}

/** Stops everything, and looks whether that is so. */
async function leaveNothing(workspace: Workspace, fleet: DemoFleet, screen: DemoScreen): Promise<Claim> {
  const processIds = [fleet.server.processId, databaseProcessId(workspace), ...fleet.agentProcessIds]
  const left = workspace.ownProcesses([...processIds, ...workspace.serviceProcessIds()])
  await workspace.remove()
  const still = workspace.ownProcesses(left)
  const claim: Claim = {
    name: "nothing is left behind",
    ok: still.length === 0 && left.length > 0 && !existsSync(workspace.directory),
    measured: `${left.length - still.length} of ${left.length} processes ended`,
  }
  showClaims(screen, undefined, [claim])
  return claim
}
