import { judgeApprovals } from "./approval-claims.ts"
import {
  type Claim,
  figuresOf,
  judgeFirstRun,
  judgeProbing,
  judgeSecondRun,
  judgeSecret,
  judgeServer,
} from "./claims.ts"
import type { DemoFleet } from "./demo-fleet.ts"
import { demoPlan, faults } from "./demo-plan.ts"
import type { DemoReport } from "./demo-report.ts"
import type { DemoScreen } from "./demo-screen.ts"
import type { DemoContext } from "./demo-server.ts"
import type { RunEvidence, SecretEvidence } from "./evidence.ts"
import type { Prober } from "./prober.ts"
import { runRollout } from "./rollout-run.ts"
import { reportOf, tellWhy } from "./story-shared.ts"
import type { Story, StoryEnd } from "./story.ts"
import { workflowDocument } from "./web-config-workflow.ts"

/** A change that two levels approve, that two machines can't take, and that stops itself when it is bad. */
export const rolloutStory: Story = {
  headline: "12 machines, a change that needs two yeses and goes wrong on two, a run that stops itself",
  needsApproval: true,
  faults,
  async tell(context, fleet, screen) {
    const runs = await tellRuns(context, fleet, screen)
    return {
      executionIds: runs.map(({ executionId }) => executionId),
      judge: (secret) => judge(runs, secret, fleet.prober),
      report: (end) => makeReport(runs, end),
    }
  },
}

type Runs = readonly [first: RunEvidence, second: RunEvidence]

async function tellRuns(context: DemoContext, fleet: DemoFleet, screen: DemoScreen): Promise<Runs> {
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
  await tellWhy(parts, second.executionId)
  return [first, second]
}

function judge(runs: Runs, secret: SecretEvidence, prober: Prober): Claim[] {
  const [first, second] = runs
  const probing = { probesCount: prober.probesCount, pauseMaxMilliseconds: prober.pauseMaxMilliseconds }
  return [
    ...judgeApprovals(runs),
    ...judgeFirstRun(first),
    ...judgeSecondRun(second),
    judgeSecret(secret),
    judgeProbing(runs, probing),
    judgeServer(runs),
  ]
}

function makeReport([first, second]: Runs, end: StoryEnd): DemoReport {
  const firstRun = figuresOf(first)
  const secondRun = figuresOf(second)
  return {
    ...reportOf(first.nodes, end),
    maxInFlight: Math.max(firstRun.maxInFlight, secondRun.maxInFlight),
    maxUnavailable: Math.max(firstRun.maxUnavailable, secondRun.maxUnavailable),
    succeeded: firstRun.succeeded,
    failed: firstRun.failed,
    rolledBack: firstRun.rolledBack,
    neverStarted: firstRun.neverStarted + secondRun.neverStarted,
    filesRestoredExactly: firstRun.filesRestoredExactly && secondRun.filesRestoredExactly,
    firstRun,
    secondRun: { ...secondRun, errorLimit: second.errorLimit },
  }
}
