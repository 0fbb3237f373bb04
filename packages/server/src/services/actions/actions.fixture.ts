/** Actions on a whole server with a database of its own, and rules that a test publishes at will. */
import { actionsList } from "@signalbox/contracts/actions/operations"
import { ruleDefinition } from "@signalbox/contracts/rules/rule-document"
import { compileRule } from "@signalbox/rules/compile-rule"
import { createRuleSet } from "@signalbox/rules/rule-set"
import type { RuleTrigger } from "@signalbox/rules/rule-source"
import type { z } from "zod"
import type { ServerFixtureOptions } from "../../http/edge.fixture.ts"
import { noRules, type PublishedRule, type RuleEvent, type RuleMatcher } from "../../router/rule-ports.ts"
import { startApprovals, untilTrue, type ApprovalsFixture } from "../approvals/approvals.fixture.ts"
import type { ActionRun } from "./wire.ts"

export type RuleInput = Omit<z.input<typeof ruleDefinition>, "on"> & { readonly on?: object[] }

export class RulesInMemory implements RuleMatcher {
  readonly #rules = new Map<string, PublishedRule>()

  put(account: string, rule: string, input: { readonly author: string; readonly definition: RuleInput }): void {
    const version = (this.#rules.get(`${account}/${rule}`)?.version ?? 0) + 1
    const definition = ruleDefinition.parse(input.definition)
    this.#rules.set(`${account}/${rule}`, { rule, version, author: input.author, definition, publishedAt: 0 })
  }

  remove(account: string, rule: string): void {
    this.#rules.delete(`${account}/${rule}`)
  }

  isAsked: RuleMatcher["isAsked"] = (account, operation, phase) =>
    phase === "after" && this.#match(account, [{ on: "after", name: operation }], {}).length > 0
  decide = noRules.decide
  follow: RuleMatcher["follow"] = ({ account, operation }) =>
    this.#match(account, [{ on: "after", name: operation }], { operation })
  matchEvent: RuleMatcher["matchEvent"] = (account, event) => ({
    firings:
      event.type === "operation.done"
        ? (event.data as { firings: PublishedRule[] }).firings
        : this.#match(account, [{ on: "event", name: event.type }], { event }),
    members: this.#own(account).flatMap(({ rule, version, definition: { correlate } }) =>
      (["all", "any", "none", "after"] as const).flatMap((list) =>
        (correlate?.[list] ?? []).flatMap((member, index) =>
          isMember(member, event) ? [{ rule, version, list, index }] : [],
        ),
      ),
    ),
    faults: [],
  })
  eventTypes = (): readonly string[] => ["*"]
  find: RuleMatcher["find"] = (account, { rule }) => Promise.resolve(this.#rules.get(`${account}/${rule}`))

  #own(account: string): PublishedRule[] {
    return [...this.#rules].flatMap(([key, rule]) => (key.startsWith(`${account}/`) ? [rule] : []))
  }

  #match(account: string, occurred: readonly RuleTrigger[], data: object): PublishedRule[] {
    const own = this.#own(account)
    const set = createRuleSet(own.map((published) => compiled(published)))
    const { matched } = set.match(occurred, { ...data })
    return own.filter(({ rule }) => matched.some(({ id }) => id === rule))
  }
}

function compiled({ rule, version, definition }: PublishedRule) {
  const triggers = (definition.on ?? []).flatMap(({ event, operation }): RuleTrigger[] =>
    event === undefined ? [{ on: "after", name: operation ?? "" }] : [{ on: "event", name: event }],
  )
  const { when } = definition
  return compileRule({
    ...{ id: rule, version, triggers, gating: false, variables: { event: "dyn", operation: "string" } as const },
    ...(when === undefined ? {} : { when }),
  })
}

function isMember({ event: name }: { readonly event: string }, event: RuleEvent): boolean {
  const rule = compileRule({ id: "m", version: 1, triggers: [{ on: "event", name }], gating: false, variables: {} })
  return createRuleSet([rule]).match([{ on: "event", name: event.type }], {}).matched.length > 0
}

export interface ActionsFixture extends ApprovalsFixture {
  readonly rules: RulesInMemory
  /** Publishes a rule of account `main` in the name of an administrator, or of somebody else. */
  rule(name: string, definition: RuleInput, author?: string): void
  /** The runs of a rule, the oldest first, once there are so many in one of these states. */
  runs(rule: string, wanted: { readonly count: number; readonly states?: readonly string[] }): Promise<ActionRun[]>
}

export async function startActions(options: ServerFixtureOptions = {}): Promise<ActionsFixture> {
  const rules = new RulesInMemory()
  const approvals = await startApprovals({ rules, ...options })
  const admin = await approvals.key("author", ["admin"])
  return {
    ...approvals,
    rules,
    rule: (name, definition, author) => rules.put("main", name, { author: author ?? admin.principal, definition }),
    async runs(rule, { count, states }) {
      let found: ActionRun[] = []
      await untilTrue(async () => {
        const { items } = await approvals.call(approvals.admin, actionsList, { rule, limit: 1_000 })
        found = items.toReversed()
        return found.filter(({ state }) => states?.includes(state) ?? true).length >= count
      })
      return found
    },
  }
}
