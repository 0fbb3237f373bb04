/**
 * At three in the morning a schedule starts a change that two machines can't take. Nobody watches: the run stops itself,
 * puts the two back and writes a mail; whoever is on call reads why, repairs the two, and runs those again.
 */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { schedulesApply } from "@signalbox/contracts/calendars/schedules"
import { channelsApply, subscriptionsApply } from "@signalbox/contracts/notifications/operations"
import { executionsList, executionsRetry } from "@signalbox/contracts/workflows/operations"
import { AppError } from "@signalbox/kernel/app-error"
import { judgeSecret } from "./claims.ts"
import { demoLimits } from "./demo-plan.ts"
import type { Mail } from "./mailbox.ts"
import { judgeNight, type NightEvidence } from "./night-claims.ts"
import { nightPlan } from "./night-plan.ts"
import { lookAfter, lookBefore, showRun } from "./run-observation.ts"
import type { RunParts } from "./run-parts.ts"
import { reportOf, tellWhy } from "./story-shared.ts"
import type { Story } from "./story.ts"
import { workflowName } from "./web-config-workflow.ts"

export const nightStory: Story = {
  headline: "a change at night that two of 12 machines can't take, and who is told of it",
  needsApproval: false,
  faults: nightPlan.faults,
  async tell(context, fleet, screen) {
    const parts: RunParts = { ...context, ...fleet, screen }
    const evidence = await passNight(parts)
    return {
      executionIds: [evidence.run.executionId, evidence.retry.executionId],
      judge: (secret) => [...judgeNight(evidence), judgeSecret(secret)],
      report: (end) => reportOf(evidence.run.nodes, end),
    }
  },
}

async function passNight(parts: RunParts): Promise<NightEvidence> {
  const { client, screen, signal, mailbox } = parts
  screen.title("1. In the evening: who is to be told, and what is to run at night")
  await prepareNight(parts)
  const before = await lookBefore(parts)
  screen.title("2. At 3 am: the schedule starts the run. Two machines can't take it, one failure is tolerated.")
  const executionId = await waitForRun(parts)
  await showRun(parts, executionId, before.from)
  const run = { executionId, ...(await lookAfter(parts, executionId, before)) }
  const mail = await mailbox.waitForMail(nightPlan.onCall, [executionId], signal)
  screen.title(`3. The mail to ${nightPlan.onCall}`)
  for (const line of shownLines(mail)) screen.line(`  ${screen.paint("gray", line)}`)
  const why = await tellWhy(parts, executionId)
  await repair(parts)
  screen.title("4. In the morning: both machines are repaired, and those two alone run again")
  const beforeRetry = await lookBefore(parts)
  const reply = await client.call(executionsRetry, { execution: executionId }, { signal })
  if (reply.status === "held") throw new AppError("demo.part-failed", "the retry was held for approval")
  await showRun(parts, reply.value.id, beforeRetry.from)
  const retry = { executionId: reply.value.id, ...(await lookAfter(parts, reply.value.id, beforeRetry)) }
  const mails = mailbox.mails.filter(({ to, text }) => to.includes(nightPlan.onCall) && text.includes(executionId))
  return { run, retry, mails, why }
}

async function prepareNight({ client, screen, signal }: RunParts): Promise<void> {
  const { onCall, scheduleName, firesInMilliseconds, version, workers, width, errorLimit } = nightPlan
  const subscription = { name: "tripped", channel: "on-call", events: ["execution.tripped", "execution.failed"] }
  await client.call(channelsApply, { name: "on-call", via: "mail", to: [onCall] }, { signal })
  await client.call(subscriptionsApply, { ...subscription, throttle: "10m", throttleBy: "event.subject" }, { signal })
  screen.done(`a run that trips or fails is told to ${onCall}, once in ten minutes`)
  const input = {
    workflow: workflowName,
    targets: { query: "role=web" },
    parameters: { version, workers },
    concurrency: width,
    errorLimit,
  }
  const at = new Date(Date.now() + firesInMilliseconds).toISOString()
  await client.call(schedulesApply, { name: scheduleName, at, call: { input } }, { signal })
  screen.done(`the schedule ${scheduleName} will run ${workflowName} with ${version}, ${width} nodes at once`)
}

/** The execution that the schedule has started. @throws demo.part-failed */
async function waitForRun({ client, signal }: RunParts): Promise<string> {
  const deadline = performance.now() + demoLimits.executionMilliseconds
  while (performance.now() < deadline) {
    signal.throwIfAborted()
    const { items } = await client.call(executionsList, { workflow: workflowName }, { signal })
    const run = items.find(({ createdBy }) => createdBy === `schedule:${nightPlan.scheduleName}`)
    if (run) return run.id
    await delay(demoLimits.pollMilliseconds)
  }
  throw new AppError("demo.part-failed", `the schedule started nothing in ${demoLimits.executionMilliseconds} ms`)
}

/** The text of a mail without its headers. */
function shownLines({ text }: Mail): string[] {
  const subject = /^Subject: .*$/m.exec(text)?.[0] ?? ""
  const plain = /text\/plain[^]*?\r?\n\r?\n([^]*?)(?:\r?\n--|$)/.exec(text)?.[1] ?? ""
  const lines = plain.split(/\r?\n/).filter((line) => line.trim() !== "")
  return [subject, ...lines.slice(0, nightPlan.mailLinesShown)]
}

const faultTexts = {
  "service-refuses-v2": "its service starts with v2 now",
  "check-refuses-v2": "its own check accepts v2 now",
} as const

/** What a person does on the two machines: takes away what kept them from the new version. */
async function repair({ nodes, screen }: RunParts): Promise<void> {
  screen.line()
  for (const { fault, name, port, root } of nodes) {
    if (fault === "none") continue
    await writeFile(join(root, "etc/site.json"), `${JSON.stringify({ port, fault: "none" })}\n`)
    screen.done(`${name} is repaired by hand: ${faultTexts[fault]}`)
  }
}
