import type { Claim } from "./claims.ts"
import { demoPlan } from "./demo-plan.ts"
import type { NodeEvidence, RunEvidence } from "./evidence.ts"
import { differingPaths } from "./file-copy.ts"
import type { Mail } from "./mailbox.ts"
import { nightPlan } from "./night-plan.ts"

export type NightRun = Pick<RunEvidence, "executionId" | "span" | "nodes">

/** What was found on nodes and in the mailbox about a run at night and the retry of what failed in it. */
export interface NightEvidence {
  readonly run: NightRun
  readonly retry: NightRun
  /** All that came for whoever is on call, about this run. */
  readonly mails: readonly Mail[]
  /** What `signalbox why` said. */
  readonly why: string
}

const isTouched = ({ entries }: NodeEvidence): boolean => entries.length > 0
const hasSucceeded = ({ entries }: NodeEvidence): boolean => entries.some(({ state }) => state === "succeeded")
const isAsBefore = (node: NodeEvidence): boolean =>
  differingPaths(node.filesBefore, node.filesAfter, { identity: false }).length === 0

/** Judged by journals, files, services and mails; of the server's words only what `why` says is looked at. */
export function judgeNight({ run, retry, mails, why }: NightEvidence): Claim[] {
  const touched = run.nodes.filter(isTouched)
  const failed = touched.filter((node) => !hasSucceeded(node))
  const untouched = run.nodes.filter((node) => !isTouched(node))
  const ends = failed.flatMap(({ entries }) => entries.flatMap(({ taskEndedAt }) => taskEndedAt ?? []))
  const lastFailureAt = Math.max(...ends)
  const toldAfter = (mails[0]?.at ?? Infinity) - lastFailureAt
  const named = failed.filter(({ name }) => why.includes(name))
  const retried = retry.nodes.filter(isTouched)
  const repeated = [...run.nodes, ...retry.nodes].flatMap(({ entries }) => entries.filter(({ ranTwice }) => ranTwice))
  const putBack = failed.filter(
    (node) => isAsBefore(node) && node.versionAfter === demoPlan.versionBefore && node.entries.every(isRolledBack),
  )
  return [
    {
      name: "the run at night stopped itself",
      ok: failed.length === nightPlan.errorLimit + 1 && untouched.length > 0 && untouched.every(isAsBefore),
      measured: `${failed.length} failed, ${nightPlan.errorLimit} tolerated; ${untouched.length} never touched`,
    },
    {
      name: "a person was told, once",
      ok: mails.length === 1 && toldAfter < toldMillisecondsMax,
      measured: `${mails.length} mail, ${(toldAfter / 1000).toFixed(1)} s after the last failure`,
    },
    {
      name: "the mail says why, and where to look",
      ok: mails.some(({ text }) => /Never started/.test(text) && text.includes(`signalbox why ${run.executionId}`)),
      measured: "counts and the command that explains it",
    },
    {
      name: "what failed is as before, by files and answers",
      ok: failed.length > 0 && putBack.length === failed.length,
      measured: `${putBack.length} of ${failed.length} answer ${demoPlan.versionBefore} again`,
    },
    {
      name: "why names each machine that failed",
      ok: failed.length > 0 && named.length === failed.length,
      measured: named.map(({ name }) => name).join(", "),
    },
    {
      name: "the retry touches what failed, and nothing else",
      ok: sameNames(retried, failed) && retry.nodes.filter((node) => !isTouched(node)).every(isAsBefore),
      measured: retried.map(({ name }) => name).join(", "),
    },
    {
      name: "after the repair the retry succeeds",
      ok: retried.length > 0 && retried.every((node) => hasSucceeded(node) && node.versionAfter === nightPlan.version),
      measured: `${retried.filter(hasSucceeded).length} of ${retried.length} answer ${nightPlan.version}`,
    },
    { name: "nothing ran twice on any machine", ok: repeated.length === 0, measured: `${repeated.length} repeats` },
  ]
}

/** Far above what it takes, far below what would help nobody. */
const toldMillisecondsMax = 30_000

const isRolledBack = ({ rollback }: NodeEvidence["entries"][number]): boolean => rollback === "rolled-back"

function sameNames(some: readonly NodeEvidence[], others: readonly NodeEvidence[]): boolean {
  const names = new Set(others.map(({ name }) => name))
  return some.length === names.size && some.every(({ name }) => names.has(name))
}
