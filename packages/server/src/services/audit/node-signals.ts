/** The signals of a node, and what rules did because they were raised. */
import { actionsList } from "@signalbox/contracts/actions/operations"
import type { whyNode } from "@signalbox/contracts/audit/operations"
import type { OutputOf } from "@signalbox/contracts/operation"
import { nodesSignals } from "@signalbox/contracts/triggers/signals"
import { toInstant } from "@signalbox/kernel/clock"
import type { ReadContext } from "../../router/handler.ts"
import type { OperationCaller } from "../../router/ports.ts"
import { record } from "./model.ts"
import { findLatestEvents } from "./store.ts"

type Signal = NonNullable<OutputOf<typeof whyNode>["signals"]>[number]

/** Raised signals of which is told what followed, those that were raised last. */
const explainedMax = 20
const runsMax = 20

/** Raised ones first, those that were raised last before the others. */
export async function findNodeSignals(
  operations: OperationCaller,
  node: string,
  context: ReadContext,
): Promise<Signal[]> {
  const { account, cause, depth, sql } = context
  const as = { account, cause, depth: depth + 1, service: "audit", roles: ["viewer"] } as const
  const { items } = await operations.call(nodesSignals, { node }, as)
  const sorted = items.toSorted(
    (a, b) =>
      Number(isRaised(b)) - Number(isRaised(a)) || (isRaised(a) ? (b.since ?? "").localeCompare(a.since ?? "") : 0),
  )
  const explained = sorted.filter(isRaised).slice(0, explainedMax)
  const events = await findLatestEvents(sql, {
    ...{ account, type: "signal.raised" },
    subjects: explained.map(({ subject }) => subject),
  })
  const found = new Map<string, NonNullable<Signal["raised"]>>()
  for (const { id, subject, time, data } of events) {
    const runs = await operations.call(actionsList, { trigger: id, limit: runsMax }, as)
    const { value } = record(data)
    found.set(subject, {
      ...{ event: id, at: toInstant(time), ...(typeof value === "number" && { value }) },
      runs: runs.items.map(({ id: run, rule, operation, state, started }) => ({
        ...{ id: run, rule, operation, state },
        ...(started !== undefined && { started }),
      })),
    })
  }
  return sorted.map((signal) => {
    const raised = found.get(signal.subject)
    return raised ? { ...signal, raised } : signal
  })
}

const isRaised = ({ state }: Pick<Signal, "state">): boolean => state === "raised" || state === "clearing"
