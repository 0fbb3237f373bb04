import { newId } from "@signalbox/kernel/id"
import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { Database } from "../storage/database.ts"
import { appendEvents } from "../storage/outbox.ts"
import { actionRunId } from "./action-run-id.ts"
import { withoutSecrets } from "./call-digest.ts"
import type { NewEvent } from "./handler.ts"
import { RawContent } from "./raw-content.ts"
import type { Routed } from "./routed.ts"
import { ruleCallOf } from "./rule-call.ts"
import {
  operationDoneBytesMax,
  operationDoneType,
  type Firing,
  type OperationDone,
  type RuleMatcher,
} from "./rule-ports.ts"

/**
 * The stage after a call that was carried out: where rules follow it, an event tells of it and of them, so that what the
 * reply announces is exactly what will be performed. Where none does nothing is written.
 */
export interface Started {
  /** The event that the firings' actions come from. */
  readonly event: string
  readonly firings: readonly Firing[]
  /**
   * The runs of their actions, by id: they are queued in a moment. Not those of rules with a limit, since only the events
   * before and after decide whether they fire.
   */
  readonly runs: readonly string[]
}

interface FollowOptions {
  readonly clock: Clock
  readonly random: Random
  readonly rules: RuleMatcher
  readonly markSecretInput: (text: string) => string
}

export interface Followed {
  readonly started: Started
  readonly event: NewEvent & { readonly id: string }
}

/**
 * What is to be written with the change; undefined where no rule follows it after all. `output` has no secrets. Where
 * another rules service than ours was asked, what it wants done takes the place of our rules.
 */
export async function followChange(
  options: FollowOptions,
  routed: Routed,
  output: unknown,
): Promise<Followed | undefined> {
  const { context, messages } = routed
  const call = ruleCallOf(options, routed)
  const firings = messages ? [] : await options.rules.follow({ ...call, output })
  if (!messages && firings.length === 0) return undefined
  const id = newId("event", options.clock, options.random)
  const { operation, caller, input } = call
  const data: OperationDone = {
    ...{ operation, caller, input, output: fitting(output), firings },
    ...(messages && { messages }),
  }
  const runs = messages
    ? messages.map((message) => actionRunId(id, message))
    : await findRuns(options.rules, context.account, { event: id, firings })
  return {
    started: { event: id, firings, runs },
    event: {
      id,
      aggregate: context.requestId,
      type: operationDoneType,
      subject: context.requestId,
      version: 1,
      data: { ...data },
    },
  }
}

async function findRuns(
  rules: RuleMatcher,
  account: string,
  { event, firings }: Pick<Started, "event" | "firings">,
): Promise<string[]> {
  const found = await Promise.all(firings.map((firing) => rules.find(account, firing)))
  return found.flatMap((published) => {
    if (!published || published.definition.limit) return []
    const { rule, definition } = published
    return definition.do.flatMap((action, number) =>
      action.operation === undefined ? [] : [actionRunId(event, { rule, number })],
    )
  })
}

/** After a call that changed nothing here: a small transaction of its own. */
export async function followAnswer(
  options: FollowOptions & { readonly database: Database },
  routed: Routed,
  output: unknown,
): Promise<Started | undefined> {
  const value = output instanceof RawContent ? null : withoutSecrets(routed.handler.operation, output)
  const followed = await followChange(options, routed, value)
  if (!followed) return undefined
  const { caller, account, cause, requestId, depth } = routed.context
  const { aggregate, version, ...event } = followed.event
  await options.database.transaction((tx) =>
    appendEvents(tx, [
      {
        ...event,
        ...{ account, aggregateId: aggregate, subjectVersion: version },
        ...{ cause, causedBy: requestId, depth, principal: caller.principal },
      },
    ]),
  )
  return followed.started
}

function fitting(output: unknown): unknown {
  const text = JSON.stringify(output) ?? "null"
  return text.length > operationDoneBytesMax ? null : output
}
