/**
 * A disk fills up. Nobody watches: a signal tells, a rule asks for a clean-up, two levels of people say yes by mail, and
 * the disk is free again. Then an ordinary call whose reply names the run that it started, and two rules that set each
 * other going until they are stopped.
 */
import { judgeSecret } from "./claims.ts"
import { findLoop } from "./loop-story.ts"
import { fillDisk } from "./disk-story.ts"
import { followCalls } from "./canary-story.ts"
import { judgeRules, rulesFigures, type RulesEvidence } from "./rules-claims.ts"
import type { CommandParts } from "./story-commands.ts"
import { reportOf } from "./story-shared.ts"
import type { Story } from "./story.ts"

export const rulesStory: Story = {
  headline: "a disk that fills up, the rule that has it cleaned, and two rules that are stopped",
  needsApproval: false,
  faults: new Map(),
  async tell(context, fleet, screen) {
    const parts: CommandParts = { ...context, ...fleet, screen }
    const evidence: RulesEvidence = {
      disk: await fillDisk(parts),
      canaries: await followCalls(parts),
      loop: await findLoop(parts),
    }
    const { disk, canaries } = evidence
    return {
      executionIds: [disk.executionId, ...canaries.map(({ executionId }) => executionId)],
      judge: (secret) => [...judgeRules(evidence), judgeSecret(secret)],
      report: (end) => ({ ...reportOf(disk.nodes, end), ...rulesFigures(evidence) }),
    }
  },
}
