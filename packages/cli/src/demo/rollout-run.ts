import { setTimeout as delay } from "node:timers/promises"
import { executionsCreate, executionsGet, executionsResize } from "@signalbox/contracts/workflows/operations"
import { AppError } from "@signalbox/kernel/app-error"
import { demoLimits, demoPlan } from "./demo-plan.ts"
import type { ApprovalEvidence, RunEvidence } from "./evidence.ts"
import { approveRun } from "./members.ts"
import { lookAfter, lookBefore, showRun } from "./run-observation.ts"
import type { RunParts } from "./run-parts.ts"
import { workflowName } from "./web-config-workflow.ts"

export interface RunOrder {
  readonly version: string
  readonly workers: number
  readonly errorLimit: number
  readonly width: number
  readonly strict: boolean
  /** Nodes that are done when the run is widened to the plan's concurrency; never where it is left out. */
  readonly widenAfter?: number
  /** The error limit that it was asked for with; it is changed while the run waits for approval. */
  readonly errorLimitAsked?: number
}

/** Runs the workflow once over the fleet, and collects what can be found on the nodes and seen from outside. */
export async function runRollout(parts: RunParts, order: RunOrder): Promise<RunEvidence> {
  const { client, health, secret, signal } = parts
  const before = await lookBefore(parts)
  const approval = await startApproved(parts, order)
  const id = approval.executionId
  const widening = order.widenAfter === undefined ? undefined : widen(parts, id, order.widenAfter)
  // Whatever goes wrong with it is told when the run has been shown.
  widening?.catch(() => undefined)
  await showRun(parts, id, before.from)
  const widenedAt = await widening
  const { span, nodes } = await lookAfter(parts, id, before)
  const { counts } = await client.call(executionsGet, { execution: id }, { signal })
  const asked = health.answers.filter(({ at }) => at >= span.from && at <= span.to)
  return {
    ...order,
    executionId: id,
    approval,
    secret,
    span,
    nodes,
    health: { asked: asked.length, well: asked.filter(({ isWell }) => isWell).length },
    ...(widenedAt === undefined ? {} : { widenedAt }),
    server: counts,
  }
}

/** Asks for the run, and has it approved. @throws demo.part-failed where it starts without */
async function startApproved(parts: RunParts, order: RunOrder): Promise<ApprovalEvidence> {
  const { client, health, signal } = parts
  const { version, workers, errorLimit, width, strict, errorLimitAsked = errorLimit } = order
  const input = {
    workflow: workflowName,
    targets: { query: "role=web" },
    parameters: { version, workers },
    concurrency: width,
    strict,
    health: { http: { url: `http://${health.address}/` }, every: demoPlan.healthEvery },
  }
  const reply = await client.call(executionsCreate, { ...input, errorLimit: errorLimitAsked }, { signal })
  if (reply.status !== "held") throw new AppError("demo.part-failed", "the run started without approval")
  const edit = { input: { ...input, errorLimit }, text: `errors tolerated: ${errorLimitAsked} to ${errorLimit}` }
  return await approveRun(parts, reply.requestUrl, errorLimitAsked === errorLimit ? undefined : edit)
}

/** Lets more nodes in at once when some are done; gives the moment before it asked, in milliseconds since 1970. */
async function widen(parts: RunParts, execution: string, doneCount: number): Promise<number | undefined> {
  const { client, signal } = parts
  const deadline = performance.now() + demoLimits.executionMilliseconds
  while (performance.now() < deadline) {
    const { counts, finishedAt } = await client.call(executionsGet, { execution }, { signal })
    if (finishedAt !== undefined) return undefined
    if (counts.succeeded + counts.failed >= doneCount) break
    await delay(demoLimits.pollMilliseconds)
  }
  const at = Date.now()
  await client.call(executionsResize, { execution, concurrency: demoPlan.concurrency }, { signal })
  return at
}
