import type { Claim } from "./claims.ts"
import type { RunEvidence } from "./evidence.ts"

/** Claims about how the runs came to be allowed: by members' mails and pages, and by the nodes' own journals. */
export function judgeApprovals(runs: readonly RunEvidence[]): Claim[] {
  const approvals = runs.map(({ approval }) => approval)
  const opened = approvals.reduce((sum, { linksOpened }) => sum + linksOpened, 0)
  const byOpening = approvals.reduce((sum, { votesByOpening }) => sum + votesByOpening, 0)
  const edited = approvals.filter(({ votesVoided }) => votesVoided !== undefined)
  const voided = edited.map(({ votesVoided = 0 }) => votesVoided)
  const waits = runs.map(waitOf)
  return [
    {
      name: "nothing starts before both levels said yes",
      ok: waits.every((milliseconds) => milliseconds > 0),
      measured: `first task ${waits.map((milliseconds) => `${(milliseconds / 1000).toFixed(1)} s`).join(" and ")} after the last vote`,
    },
    {
      name: "opening a link answers nothing",
      ok: opened > 0 && byOpening === 0,
      measured: `${opened} times opened, ${byOpening} votes`,
    },
    {
      name: "an edit of the plan voids every vote",
      ok:
        edited.length > 0 &&
        edited.every(({ votesVoided, oldLinkStatus }) => votesVoided === 2 && oldLinkStatus === 409),
      measured: `${voided.join(", ")} of 2; the old link is answered 409`,
    },
  ]
}

/** From the last vote to the first node's start, by the nodes' journals; one clock, since all are on this machine. */
function waitOf({ nodes, approval }: RunEvidence): number {
  const starts = nodes.flatMap(({ entries }) => entries.map(({ from }) => from))
  return Math.min(...starts) - approval.approvedAt
}
