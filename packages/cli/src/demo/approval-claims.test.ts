import { expect, test } from "vitest"
import { judgeApprovals } from "./approval-claims.ts"
import { firstRunEvidence, secondRunEvidence } from "./evidence.fixture.ts"
import type { ApprovalEvidence } from "./evidence.ts"

const broken = (change: Partial<ApprovalEvidence>): string[] => {
  const first = firstRunEvidence()
  const runs = [{ ...first, approval: { ...first.approval, ...change } }, secondRunEvidence()]
  return judgeApprovals(runs)
    .filter(({ ok }) => !ok)
    .map(({ name }) => name)
}

test("a demo in which all goes as it should holds every claim", () => {
  expect(broken({})).toEqual([])
})

test.each([
  ["a node starts before the last vote", { approvedAt: 5 }, "nothing starts before both levels said yes"],
  ["opening a link votes", { votesByOpening: 1 }, "opening a link answers nothing"],
  ["no link was opened", { linksOpened: 0, votesByOpening: 1 }, "opening a link answers nothing"],
  ["a vote outlives the edit", { votesVoided: 1 }, "an edit of the plan voids every vote"],
  ["an old link still counts", { oldLinkStatus: 303 }, "an edit of the plan voids every vote"],
])("%s: its claim breaks", (_, change, name) => {
  expect(broken(change)).toEqual([name])
})
