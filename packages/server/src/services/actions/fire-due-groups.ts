/**
 * Fires groups whose time has come: a quiet that has lasted, a silence. Every server looks; under the rule's lock the
 * group is read again, so it fires once.
 */
import { performingLimits } from "./action-limits.ts"
import type { ActionsContext } from "./options.ts"
import { planRule, type RulePlan } from "./rule-plan.ts"
import { listDueGroups, lockRule, readGroups, ruleIdOf } from "./storm-store.ts"
import { commitDecisions, Decisions } from "./take-events.ts"

/** True where more may be due. */
export async function fireDueGroups(context: ActionsContext): Promise<boolean> {
  const { database, clock } = context
  const limit = performingLimits.dueGroupsMax
  const due = await listDueGroups(database, { now: clock.now(), limit })
  for (const [account, own] of Map.groupBy(due, (group) => group.account)) {
    for (const [rule, groups] of Map.groupBy(own, (group) => group.rule)) {
      await fireGroups(context, account, { rule, groups })
    }
  }
  return due.length === limit
}

async function fireGroups(
  context: ActionsContext,
  account: string,
  { rule, groups }: { readonly rule: string; readonly groups: Awaited<ReturnType<typeof listDueGroups>> },
): Promise<void> {
  const { database, clock, rules } = context
  const isInForce = await rules.isInForce(account, rule)
  const plans = new Map<number, RulePlan | undefined>()
  for (const version of new Set(groups.map((group) => group.version))) {
    const published = isInForce ? await rules.find(account, { rule, version }) : undefined
    plans.set(version, published && planRule(published))
  }
  const ruleId = ruleIdOf(account, rule)
  const fired = await database.transaction(async (tx) => {
    const now = clock.now()
    const counts = await lockRule(tx, account, { rule, now })
    const decided = new Decisions({ now, budget: counts.budget })
    const keys = groups.map(({ key }) => key)
    for (const group of (await readGroups(tx, ruleId, keys)).values()) {
      // Changed since it was listed: the next look finds it.
      if (group.dueAt === null || group.dueAt > now || !plans.has(group.ruleVersion)) continue
      const plan = plans.get(group.ruleVersion)
      // Of a rule that was removed or disabled nothing is left to fire.
      if (plan) decided.wake(plan, group)
      else decided.forget(group)
    }
    await commitDecisions(context, tx, { account, rule, counts, decided })
    return decided.firings.length
  })
  if (fired === 0) return
  context.performer.wake()
  context.eventsWritten()
}
