import { overlapMax, unavailableSpans } from "./availability.ts"
import { demoPlan, faultyNodesCount } from "./demo-plan.ts"
import type { NodeEvidence, ProbingEvidence, RunEvidence, SecretEvidence } from "./evidence.ts"
import { differingPaths } from "./file-copy.ts"
import { configurationWritten } from "./web-config-workflow.ts"

/** One thing that the demo promises, judged by what was measured outside the server. */
export interface Claim {
  readonly name: string
  readonly ok: boolean
  readonly measured: string
}

/** A run's figures; all of them come from services, files and journals of the nodes. */
export interface RunFigures {
  readonly maxInFlight: number
  readonly maxUnavailable: number
  readonly touched: number
  readonly succeeded: number
  readonly failed: number
  readonly rolledBack: number
  readonly neverStarted: number
  readonly filesRestoredExactly: boolean
}

const isTouched = (node: NodeEvidence): boolean => node.entries.length > 0
const isUpdated = (node: NodeEvidence): boolean => node.entries.some(({ state }) => state === "succeeded")
const isFailed = (node: NodeEvidence): boolean => isTouched(node) && !isUpdated(node)
const isRolledBack = (node: NodeEvidence): boolean =>
  isFailed(node) && node.entries.every(({ rollback }) => rollback === "rolled-back")

/** Every file as it was, the configuration included. */
const hasFilesOfBefore = (node: NodeEvidence): boolean =>
  differingPaths(node.filesBefore, node.filesAfter, { identity: false }).length === 0

/** Nothing was even written again, and the same process answers as before, all the time. */
function isUntouched(node: NodeEvidence): boolean {
  const processes = new Set(node.spells.map(({ started }) => started))
  return (
    differingPaths(node.filesBefore, node.filesAfter, { identity: true }).length === 0 &&
    node.serviceStarts === 0 &&
    processes.size === 1 &&
    !processes.has(undefined) &&
    node.versionAfter === node.versionBefore
  )
}

export function figuresOf({ nodes }: RunEvidence): RunFigures {
  const touched = nodes.filter(isTouched)
  const rolledBack = touched.filter(isRolledBack)
  return {
    maxInFlight: overlapMax(touched.flatMap(({ entries }) => entries)),
    maxUnavailable: overlapMax(nodes.flatMap(({ spells }) => unavailableSpans(spells))),
    touched: touched.length,
    succeeded: touched.filter(isUpdated).length,
    failed: touched.filter(isFailed).length,
    rolledBack: rolledBack.length,
    neverStarted: nodes.length - touched.length,
    filesRestoredExactly: rolledBack.length > 0 && touched.filter(isFailed).every(hasFilesOfBefore),
  }
}

/** Names of claims are unique: the run they belong to stands before them. */
function ofRun(number: 1 | 2, claims: readonly Claim[]): Claim[] {
  return claims.map((claim) => ({ ...claim, name: `run ${number}: ${claim.name}` }))
}

/** Claims about the run in which two nodes fail and the others finish. */
export function judgeFirstRun(run: RunEvidence): Claim[] {
  const figures = figuresOf(run)
  const good = run.nodes.filter(({ fault }) => fault === "none")
  const faulty = run.nodes.filter(({ fault }) => fault !== "none")
  const updated = good.filter(
    (node) =>
      node.versionAfter === run.version && isUpdated(node) && node.configurationAfter === configurationWritten(run),
  )
  return ofRun(1, [
    ...judgeRate(figures),
    {
      name: `the other ${good.length} nodes finish and serve ${run.version}`,
      ok: updated.length === good.length && good.length === demoPlan.nodesCount - faultyNodesCount,
      measured: `${updated.length} answer ${run.version} over HTTP`,
    },
    judgeRollback(run, faulty, `the ${faulty.length} failed nodes are rolled back`),
    judgeFiles(figures, faulty),
    judgeBake(run),
    judgeWidening(run),
    judgeHealth(run),
    judgeOnce(run),
  ])
}

/** Claims about the run that stops by itself. */
export function judgeSecondRun(run: RunEvidence): Claim[] {
  const figures = figuresOf(run)
  const failed = run.nodes.filter(isFailed)
  const rest = run.nodes.filter((node) => !isTouched(node))
  // Strict: those in flight and those that failed are never more than one over the limit.
  const touchedMax = run.errorLimit + 1
  const untouched = rest.filter(isUntouched)
  return ofRun(2, [
    ...judgeRate(figures),
    {
      name: `it stops by itself, ${touchedMax} nodes at most`,
      ok: figures.succeeded === 0 && figures.failed > run.errorLimit && figures.touched <= touchedMax,
      measured: `${figures.touched} of ${run.nodes.length} nodes were started`,
    },
    judgeRollback(run, failed, "the failed nodes are rolled back"),
    judgeFiles(figures, failed),
    {
      name: "the other nodes are never touched",
      ok: rest.length > 0 && untouched.length === rest.length,
      measured: `${untouched.length} of ${rest.length}: same files and process`,
    },
    judgeOnce(run),
  ])
}

function judgeRate(figures: RunFigures): Claim[] {
  const limit = demoPlan.concurrency
  return [
    {
      name: `never over ${limit} nodes unavailable at once`,
      ok: figures.maxUnavailable <= limit && figures.maxUnavailable > 0,
      measured: `at most ${figures.maxUnavailable}, seen over HTTP`,
    },
    {
      name: `never over ${limit} nodes in flight at once`,
      ok: figures.maxInFlight <= limit && figures.maxInFlight > 0,
      measured: `at most ${figures.maxInFlight}, by their journals`,
    },
  ]
}

/** By the nodes' own journals; one clock, since all of them are on this machine. */
function judgeBake({ nodes }: RunEvidence): Claim {
  const [first, second] = nodes.flatMap(({ entries }) => entries).toSorted((a, b) => a.from - b.from)
  const pause = first && second ? second.from - first.to : 0
  return {
    name: `it bakes ${demoPlan.bakeMilliseconds / 1000} s after the first node`,
    ok: pause >= demoPlan.bakeMilliseconds,
    measured: `${(pause / 1000).toFixed(1)} s, by their journals`,
  }
}

function judgeWidening({ nodes, width, widenedAt = Number.NaN }: RunEvidence): Claim {
  const entries = nodes.flatMap((node) => node.entries)
  const before = entries
    .filter(({ from }) => from < widenedAt)
    .map(({ from, to }) => ({ from, to: Math.min(to, widenedAt) }))
  const [narrow, wide] = [overlapMax(before), overlapMax(entries)]
  return {
    name: `widened from ${width} to ${demoPlan.concurrency} while it runs`,
    ok: before.length > 0 && narrow <= width && wide > width && wide <= demoPlan.concurrency,
    measured: `at most ${narrow} before, ${wide} after`,
  }
}

function judgeHealth({ health }: RunEvidence): Claim {
  return {
    name: "the service's health is asked all along",
    ok: health.asked > 1 && health.well === health.asked,
    measured: `${health.asked} times, ${health.well} times well`,
  }
}

/** The nodes have it in their files; what the agents write down and the server tells has stars in its place. */
export function judgeSecret({ filesSearched, found, outputsMasked }: SecretEvidence): Claim {
  return {
    name: "the secret is in no journal, log or output",
    ok: found.length === 0 && filesSearched > demoPlan.nodesCount && outputsMasked > 0,
    measured:
      found.length === 0
        ? `0 of ${filesSearched} files; *** ${outputsMasked} times`
        : `found in ${found.slice(0, 3).join(", ")}`,
  }
}

function judgeRollback(run: RunEvidence, nodes: readonly NodeEvidence[], name: string): Claim {
  const back = nodes.filter((node) => isRolledBack(node) && node.versionAfter === node.versionBefore)
  const versions = [...new Set(nodes.map(({ versionBefore }) => versionBefore ?? "nothing"))].join(" or ")
  const others = run.nodes.filter((node) => isFailed(node) && !nodes.includes(node))
  return {
    name,
    ok: nodes.length > 0 && back.length === nodes.length && others.length === 0,
    measured: `${back.length} of ${nodes.length} answer ${versions} again`,
  }
}

function judgeFiles(figures: RunFigures, nodes: readonly NodeEvidence[]): Claim {
  const differing = nodes.flatMap((node) =>
    differingPaths(node.filesBefore, node.filesAfter, { identity: false }).map((path) => `${node.name}:${path}`),
  )
  const count = nodes.reduce((sum, node) => sum + node.filesBefore.size, 0)
  return {
    name: "their files are exactly as before",
    ok: figures.filesRestoredExactly && differing.length === 0,
    measured:
      differing.length === 0 ? `${count}: bytes, mode and owner` : `differs: ${differing.slice(0, 3).join(", ")}`,
  }
}

/** Once for the change, and once more where it was undone. */
function judgeOnce(run: RunEvidence): Claim {
  const touched = run.nodes.filter(isTouched)
  const once = touched.filter(
    (node) =>
      node.entries.length === 1 &&
      node.entries.every(({ ranTwice, attempt }) => !ranTwice && attempt === 1) &&
      node.serviceStarts === (isFailed(node) ? 2 : 1),
  )
  return {
    name: "no attempt ran twice",
    ok: once.length === touched.length,
    measured: `${once.length} of ${touched.length}, by their own records`,
  }
}

/** That the server tells the same story; it comes last, since it proves nothing by itself. */
export function judgeServer(runs: readonly RunEvidence[]): Claim {
  const same = runs.filter((run) => {
    const { succeeded, failed, rolledBack, neverStarted } = figuresOf(run)
    const told = run.server
    return (
      told.succeeded === succeeded &&
      told.failed === failed &&
      told.rolledBack === rolledBack &&
      told.neverStarted === neverStarted
    )
  })
  return {
    name: "the server says what the nodes say",
    ok: same.length === runs.length,
    measured: `${same.length} of ${runs.length} runs agree`,
  }
}

/** Without this the figures above would only say that nobody looked. */
export function judgeProbing(runs: readonly RunEvidence[], probing: ProbingEvidence): Claim {
  const touched = runs.flatMap(({ nodes }) => nodes).filter(isTouched)
  const seen = touched.filter(({ spells }) => unavailableSpans(spells).length > 0)
  const pause = Math.round(probing.pauseMaxMilliseconds)
  return {
    name: "the prober saw every restart",
    ok: seen.length === touched.length && touched.length > 0,
    measured: `${seen.length} of ${touched.length}, every ${pause} ms or less`,
  }
}
