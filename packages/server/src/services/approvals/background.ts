/** What follows changes around requests: associations for those that wait unmatched, people who come and go. */
import type { Input } from "@signalbox/approvals/types"
import { isAppError } from "@signalbox/kernel/app-error"
import type { CronTask } from "../../storage/background-queue.ts"
import type { Database } from "../../storage/database.ts"
import type { Consumer, ConsumerContext } from "../../storage/dispatcher.ts"
import { inBackground, type Hint } from "./approval-clock.ts"
import { closeDelegations } from "./delegation-store.ts"
import type { ApprovalsContext } from "./options.ts"
import { changeRequest, type EventSink } from "./request-change.ts"
import { listUnmatched, listWithSeats, removeOldRequests } from "./request-lists.ts"
import { lockRequest, readContent } from "./request-store.ts"

const requestsPerPage = 200
const pagesMax = 5_000
const keptMilliseconds = 400 * 86_400_000
const rowsPerStatement = 1_000
const roundsMax = 100

/** An association that is made afterwards takes the requests that wait for one (A5). */
export function matchConsumer(context: ApprovalsContext): Consumer {
  return {
    name: "approvals.matching",
    types: ["association.created", "association.changed"],
    async handle({ account }, { database, signal }) {
      await context.directory.refresh(account)
      await eachPage(signal, async (after) => {
        const page = await listUnmatched(database, account, { after, limit: requestsPerPage })
        for (const { id, attributes } of page) {
          const template = context.directory.match(account, attributes)?.template
          if (template === undefined) continue
          const content = await readContent(database, id)
          const by = { key: "system:approvals" }
          await changeLater(context, { account, id }, { type: "match", template, content, by })
        }
        return page.map(({ id }) => id)
      })
    },
  }
}

/** Events after which seats of requests under way may have changed; their data name the keys of the people. */
const peopleEvents = ["approval-group.changed", "approval-group.removed", "delegation.created", "delegation.ended"]
/** The subject is a principal, or a key that may be one. */
const principalEvents = [
  "user.changed",
  "user.disabled",
  "user.enabled",
  "service-account.changed",
  "service-account.disabled",
  "service-account.enabled",
  "key.revoked",
]

/** Whoever has left a group has left the seat, and whoever stands in has it, in requests under way too. */
export function peopleConsumer(context: ApprovalsContext): Consumer {
  return {
    name: "approvals.people",
    types: [...peopleEvents, ...principalEvents],
    async handle({ account, subject, type, data }, run) {
      const keys = peopleEvents.includes(type)
        ? ((data as { keys?: string[] }).keys ?? [])
        : [subject, `key:${subject}`]
      if (keys.length === 0) return
      await context.directory.refresh(account)
      await refreshSeatsOf(context, run, { account, keys })
    },
  }
}

async function refreshSeatsOf(
  context: ApprovalsContext,
  { database, signal }: Pick<ConsumerContext, "database" | "signal">,
  of: { readonly account: string; readonly keys: readonly string[] },
): Promise<void> {
  const { account, keys } = of
  await eachPage(signal, async (after) => {
    const ids = await listWithSeats(database, account, { keys, after, limit: requestsPerPage })
    for (const id of ids) await changeLater(context, { account, id }, { type: "member-removed" })
    return ids
  })
}

/** One request in one transaction. What was decided meanwhile leaves nothing to do. */
async function changeLater(
  context: ApprovalsContext,
  of: { readonly account: string; readonly id: string },
  input: Input,
): Promise<void> {
  const { database, clock } = context
  const hints: Hint[] = []
  try {
    await database.transaction(async (tx) => {
      hints.length = 0
      const row = await lockRequest(tx, of.account, of.id)
      if (!row || row.decidedAt !== null) return
      const work = (sink: EventSink) => changeRequest(context, sink, { row, input })
      await inBackground(context, tx, { row, now: clock.now(), hints, work })
    })
  } catch (error) {
    if (!isAppError(error) || !error.code.startsWith("approvals.")) throw error
  }
  for (const hint of hints) await hint()
}

async function eachPage(signal: AbortSignal, work: (after: string) => Promise<readonly string[]>): Promise<void> {
  let after = ""
  for (let page = 0; page < pagesMax; page++) {
    signal.throwIfAborted()
    const ids = await work(after)
    const last = ids.at(-1)
    if (last === undefined || ids.length < requestsPerPage) return
    after = last
  }
}

export function approvalTasks(context: ApprovalsContext): readonly CronTask[] {
  return [
    {
      name: "approvals.retention",
      cron: "41 * * * *",
      async run({ database, signal }) {
        await inRounds(signal, () =>
          removeOldRequests(database, { before: context.clock.now() - keptMilliseconds, limit: rowsPerStatement }),
        )
      },
    },
    {
      name: "approvals.delegations-over",
      cron: "*/10 * * * *",
      run: ({ database, signal }) => closeOver(context, database, signal),
    },
  ]
}

/** A delegation that is over holds no more by itself; this only keeps memory and lists short. */
function closeOver(context: ApprovalsContext, database: Database, signal: AbortSignal): Promise<void> {
  return inRounds(signal, () => closeDelegations(database, context.clock.now(), rowsPerStatement))
}

async function inRounds(signal: AbortSignal, work: () => Promise<number>): Promise<void> {
  for (let round = 0; round < roundsMax && !signal.aborted; round++) {
    if ((await work()) < rowsPerStatement) return
  }
}
