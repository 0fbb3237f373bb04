import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { whyExplain } from "@signalbox/contracts/audit/operations"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import { exitCodeOf, exitCodes } from "../exit-codes.ts"
import { renderStory } from "../output/render-story.ts"
import { renderError } from "../output/print-error.ts"
import {
  type Claim,
  figuresOf,
  judgeFirstRun,
  judgeProbing,
  judgeSecondRun,
  judgeSecret,
  judgeServer,
} from "./claims.ts"
import { judgeApprovals } from "./approval-claims.ts"
import { type DemoFleet, startFleet } from "./demo-fleet.ts"
import { demoPlan } from "./demo-plan.ts"
import { type DemoReport, type KeptDemo, showClaims, showFigures, showNext } from "./demo-report.ts"
import { DemoScreen } from "./demo-screen.ts"
import { cleanEnvironment, type DemoContext, partFailure } from "./demo-server.ts"
import type { RunEvidence, SecretEvidence } from "./evidence.ts"
import { databaseMegabytes, installedMegabytes, residentMegabytes } from "./footprint.ts"
import type { Prober } from "./prober.ts"
import { runRollout } from "./rollout-run.ts"
import { searchSecret } from "./secret-search.ts"
import { quoteShell } from "./service-files.ts"
import { workflowDocument } from "./web-config-workflow.ts"
import { Workspace } from "./workspace.ts"

export interface DemoOptions {
  /** Nothing on standard output but one last line of JSON. */
  readonly json: boolean
  /** Leave everything running at the end. */
  readonly keep: boolean
  readonly story?: string
}

const stories = ["rollout"] as const
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

async function play(options: DemoOptions, screen: DemoScreen, signal: AbortSignal): Promise<number> {
  if (options.story !== undefined && !(stories as readonly string[]).includes(options.story))
    throw new AppError("cli.usage", `there is no story "${options.story}"; there is: ${stories.join(", ")}`)
  const workspace = Workspace.create()
  let fleet: DemoFleet | undefined
  try {
    const context: DemoContext = { workspace, signal, environment: cleanEnvironment(workspace) }
    screen.line(
      screen.paint(
        "bold",
        "Signalbox demo: 12 machines, a change that needs two yeses and goes wrong on two, a run that stops itself",
      ),
    )
    screen.line(`Everything runs in ${workspace.directory}, and is removed at the end.`)
    screen.line()
    fleet = await startFleet(context, screen)
    const runs = await tellStory(context, fleet, screen)
    const secret = await searchSecret(fleet.client, fleet.secret, {
      nodes: fleet.nodes,
      logsDirectory: workspace.path("logs"),
      executionIds: runs.map(({ executionId }) => executionId),
    })
    const claims = judge(runs, secret, { prober: fleet.prober, screen })
    const figures = await measure(workspace, fleet)
    await fleet.client.close()
    const kept = options.keep ? await keep(workspace, fleet) : undefined
    if (!kept) claims.push(await leaveNothing(workspace, fleet, screen))
    const report = makeReport({ runs, claims, figures, ...(kept && { kept }) })
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

type Runs = readonly [first: RunEvidence, second: RunEvidence]

async function tellStory(context: DemoContext, fleet: DemoFleet, screen: DemoScreen): Promise<Runs> {
  const { concurrency, firstRun, secondRun, nodesCount } = demoPlan
  const parts = { ...context, ...fleet, screen }
  screen.title("The change, as a workflow")
  for (const line of workflowDocument.trimEnd().split("\n")) screen.line(`  ${screen.paint("gray", line)}`)
  const pace = `one first, then ${firstRun.width} and soon ${concurrency} at once`
  screen.title(`1. ${firstRun.version} for ${nodesCount} nodes, ${pace}. Two of them can't take it.`)
  const first = await runRollout(parts, firstRun)
  screen.title(
    `2. ${secondRun.version} with a bad value. One failure is tolerated, strictly: at the next one the run stops.`,
  )
  const second = await runRollout(parts, secondRun)
  screen.title(`signalbox why ${second.executionId}`)
  const story = await fleet.client.call(whyExplain, { id: second.executionId }, { signal: context.signal })
  // The date, and the ids at the ends of the lines, would say less here than they take.
  const told = renderStory(story)
    .trimEnd()
    .replaceAll(/^\d{4}-\d\d-\d\dT| {2}\[[^\]]*\]$/gm, "")
  for (const line of told.split("\n").slice(1)) screen.line(`  ${screen.paint("gray", line)}`)
  return [first, second]
}

/** Judged before anything is stopped. */
function judge(runs: Runs, secret: SecretEvidence, shown: { prober: Prober; screen: DemoScreen }): Claim[] {
  const { prober, screen } = shown
  const [first, second] = runs
  const probing = { probesCount: prober.probesCount, pauseMaxMilliseconds: prober.pauseMaxMilliseconds }
  prober.stop()
  const ofRuns = [...judgeFirstRun(first), ...judgeSecondRun(second)]
  const claims = [
    ...judgeApprovals(runs),
    ...ofRuns,
    judgeSecret(secret),
    judgeProbing(runs, probing),
    judgeServer(runs),
  ]
  showClaims(screen, "Proof, from outside the server", claims)
  return claims
}

type Footprint = Pick<DemoReport, "serverMegabytes" | "databaseMegabytes" | "agentMegabytes" | "installedMegabytes">

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

function makeReport(parts: {
  readonly runs: Runs
  readonly claims: readonly Claim[]
  readonly figures: Footprint
  readonly kept?: KeptDemo
}): DemoReport {
  const [first, second] = parts.runs
  const firstRun = figuresOf(first)
  const secondRun = figuresOf(second)
  return {
    ok: parts.claims.every(({ ok }) => ok),
    nodes: first.nodes.length,
    maxInFlight: Math.max(firstRun.maxInFlight, secondRun.maxInFlight),
    maxUnavailable: Math.max(firstRun.maxUnavailable, secondRun.maxUnavailable),
    succeeded: firstRun.succeeded,
    failed: firstRun.failed,
    rolledBack: firstRun.rolledBack,
    neverStarted: firstRun.neverStarted + secondRun.neverStarted,
    filesRestoredExactly: firstRun.filesRestoredExactly && secondRun.filesRestoredExactly,
    firstRun,
    secondRun: { ...secondRun, errorLimit: second.errorLimit },
    secondsToFirstSucceededNode: seconds(firstSuccess(first) - performance.timeOrigin),
    secondsTotal: seconds(performance.now()),
    ...parts.figures,
    claims: parts.claims,
    ...(parts.kept && { kept: parts.kept }),
  }
}

/** When the first node was done, by its journal. */
function firstSuccess({ nodes }: RunEvidence): number {
  const ends = nodes.flatMap(({ entries }) =>
    entries.filter(({ state }) => state === "succeeded").map(({ taskEndedAt }) => taskEndedAt ?? Infinity),
  )
  return Math.min(...ends)
}

function seconds(milliseconds: number): number {
  return Math.round(milliseconds / 100) / 10
}
