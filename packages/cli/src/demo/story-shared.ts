import { whyExplain } from "@signalbox/contracts/audit/operations"
import type { Client } from "@signalbox/sdk/client"
import { renderStory } from "../output/render-story.ts"
import type { DemoScreen } from "./demo-screen.ts"
import type { NodeEvidence } from "./evidence.ts"
import type { StoryReport } from "./demo-report.ts"
import type { StoryEnd } from "./story.ts"

/** Shows what `signalbox why` says of an execution, and gives it. */
export async function tellWhy(
  { client, screen, signal }: { readonly client: Client; readonly screen: DemoScreen; readonly signal: AbortSignal },
  executionId: string,
): Promise<string> {
  screen.title(`signalbox why ${executionId}`)
  const story = renderStory(await client.call(whyExplain, { id: executionId }, { signal }))
  // The date, and the ids at the ends of the lines, would say less here than they take.
  const told = story.trimEnd().replaceAll(/^\d{4}-\d\d-\d\dT| {2}\[[^\]]*\]$/gm, "")
  for (const line of told.split("\n").slice(1)) screen.line(`  ${screen.paint("gray", line)}`)
  return story
}

/** What every story's report has, from the nodes of its first run. */
export function reportOf(nodes: readonly NodeEvidence[], { claims, figures, kept }: StoryEnd): StoryReport {
  return {
    ok: claims.every(({ ok }) => ok),
    nodes: nodes.length,
    secondsToFirstSucceededNode: seconds(firstSuccess(nodes) - performance.timeOrigin),
    secondsTotal: seconds(performance.now()),
    ...figures,
    claims,
    ...(kept && { kept }),
  }
}

/** When the first node was done, by its journal. */
function firstSuccess(nodes: readonly NodeEvidence[]): number {
  const ends = nodes.flatMap(({ entries }) =>
    entries.filter(({ state }) => state === "succeeded").map(({ taskEndedAt }) => taskEndedAt ?? Infinity),
  )
  return Math.min(...ends)
}

function seconds(milliseconds: number): number {
  return Math.round(milliseconds / 100) / 10
}
