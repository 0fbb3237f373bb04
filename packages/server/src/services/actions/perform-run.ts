/**
 * Performs one run: its operation is called as a standing call, in the name of the rule's author with the authority that
 * this principal has now, through every stage of the router. The call's idempotency key is the run's id, and a run that was
 * tried before first asks the audit record whether its call was carried out.
 */
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import type { Caller } from "../../router/handler.ts"
import type { ClaimingRule } from "../../router/rule-ports.ts"
import type { PerformResult } from "./action-machine.ts"
import type { ActionsOptions } from "./options.ts"
import { removedReason } from "./removed-rules.ts"
import type { RunRow } from "./run-store.ts"

export async function performRun(options: ActionsOptions, run: RunRow): Promise<PerformResult> {
  try {
    const known = run.attempts + run.redrives > 1 ? await findStarted(options, run) : undefined
    if (known !== undefined) return { kind: "done", started: known }
    if (run.isOwnRule && !(await options.rules.isInForce(run.account, run.rule)))
      return {
        kind: "cancelled",
        code: "actions.rule-removed",
        message: removedReason(run.rule),
      }
    return await call(options, run)
  } catch (error) {
    return failed(options, run, error)
  }
}

async function call(options: ActionsOptions, run: RunRow): Promise<PerformResult> {
  const { operation, input, cause, id, depth } = run
  const reply = await options.standing.callStanding({
    ...{ operation, input, cause, depth },
    caller: findCaller(options, run),
    idempotencyKey: keyOf(run),
    causedBy: id,
    rule: await findClaim(options, run),
  })
  if (reply.status === "held") {
    const { requestUrl } = reply
    return { kind: "held", requestUrl, requestId: requestUrl.slice(requestUrl.lastIndexOf("/") + 1) }
  }
  const started = await findStarted(options, run)
  return { kind: "done", ...(started === undefined ? {} : { started }) }
}

/** What those are told who are asked to approve the call. */
async function findClaim({ rules }: ActionsOptions, run: RunRow): Promise<ClaimingRule> {
  const { account, rule, ruleVersion: version, event, isOwnRule } = run
  const published = isOwnRule ? await rules.find(account, { rule, version }) : undefined
  const description = published?.definition.description
  const reason = `it acts on ${event.type} of ${event.subject}${description === undefined ? "" : `; ${description}`}`
  return { rule, version, reason }
}

/** A call that an approval held and that failed then is known under its key: to be asked for again it needs another. */
function keyOf({ id, redrives, requestId }: RunRow): string {
  return requestId === null ? id : `${id}:${redrives}`
}

function findStarted(
  { standing, database }: ActionsOptions,
  { account, cause, id }: RunRow,
): Promise<string | undefined> {
  return standing.findStandingChange(database, { account, cause, causedBy: id })
}

function findCaller({ clock, principals }: ActionsOptions, { account, rule, author: principal }: RunRow): Caller {
  const author = principals.findPrincipal(account, principal, clock.now())
  if (!author)
    throw new AppError(
      "actions.author-refused",
      `${principal}, in whose name "${rule}" acts, was disabled, revoked or has expired`,
    )
  const { roles, permissions, nodes } = author
  return {
    ...{ account, principal: `rule:${rule}`, kind: "rule", roles, permissions, author: author.principal },
    ...(nodes === undefined ? {} : { nodes }),
  }
}

async function failed(options: ActionsOptions, run: RunRow, error: unknown): Promise<PerformResult> {
  // The connection may have been lost at the commit.
  const started = await findStarted(options, run).catch(() => undefined)
  if (started !== undefined) return { kind: "done", started }
  if (isAppError(error))
    return { kind: "failed", code: error.code, message: error.message, isRetryable: error.entry.retryable }
  options.logger.warn({ err: error, run: run.id }, "an action failed inside Signalbox; it is tried again")
  return { kind: "failed", code: "request.internal", message: "the call failed inside Signalbox", isRetryable: true }
}
