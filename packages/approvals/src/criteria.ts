import { compileExpression, type Expression } from "@signalbox/expressions/compile-expression"
import type { VariableType } from "@signalbox/expressions/variable-type"
import { isAppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import type { TemplateRule } from "./template-rules.ts"
import type { RequestAttributes, Requester } from "./types.ts"

/** What `approveWhen` and `denyWhen` see. A field that the request lacks fails them, so `has()` goes before it. */
export const criteriaVariables: Readonly<Record<string, VariableType>> = {
  request: {
    fields: {
      request: "string",
      operation: "string",
      type: "string",
      product: "string",
      portfolio: "string",
      project: "string",
      action: "string",
      topic: "string",
      workflow: "string",
      cost: "double",
      requester: { fields: { id: "string", name: "string", teams: { list: "string" }, roles: { list: "string" } } },
      attributes: { map: "dyn" },
      content: "dyn",
    },
  },
  calendar: { fields: { open: "bool" } },
  now: "timestamp",
}

/** What `keepVotesWhen` sees: the contents around an edit. */
export const keepVotesVariables: Readonly<Record<string, VariableType>> = { before: "dyn", after: "dyn" }

export type CriteriaName = "approveWhen" | "denyWhen" | "keepVotesWhen"

/**
 * A template's expression, checked and compiled.
 *
 * @throws expressions.invalid
 */
export function checkCriteria(name: CriteriaName, text: string): Expression {
  const variables = name === "keepVotesWhen" ? keepVotesVariables : criteriaVariables
  return compileExpression(text, { variables, resultType: "bool" })
}

export interface CriteriaFacts {
  readonly attributes: RequestAttributes
  readonly requester: Requester
  readonly content: unknown
  readonly calendarOpen: boolean
  readonly now: number
}

/** `fault`: why one of them has no result; then none of them decides anything. */
export interface CriteriaVerdict {
  readonly result: "approve" | "deny" | "none"
  readonly fault: string | null
}

const faultLengthMax = 300

function faultOf(error: unknown): string {
  if (!isAppError(error)) throw error
  return error.message.slice(0, faultLengthMax)
}

function dataOf({ attributes, requester, content, calendarOpen, now }: CriteriaFacts): Record<string, unknown> {
  const { key: id, name = id, teams, roles } = requester
  return {
    request: { ...attributes, requester: { id, name, teams, roles }, attributes, content },
    calendar: { open: calendarOpen },
    now: toInstant(now),
  }
}

/** What a template's criteria say of a request (A11). Denial goes before approval; a fault leaves it to the people. */
export function judgeCriteria({ approveWhen, denyWhen }: TemplateRule, facts: CriteriaFacts): CriteriaVerdict {
  if (approveWhen === undefined && denyWhen === undefined) return { result: "none", fault: null }
  const data = dataOf(facts)
  const holds = (name: CriteriaName, text: string | undefined): boolean =>
    text !== undefined && checkCriteria(name, text).evaluate(data) === true
  try {
    if (holds("denyWhen", denyWhen)) return { result: "deny", fault: null }
    return { result: holds("approveWhen", approveWhen) ? "approve" : "none", fault: null }
  } catch (error) {
    return { result: "none", fault: faultOf(error) }
  }
}

/** Whether an edit leaves the votes standing (A14); a fault does not. */
export function keepsVotes({ keepVotesWhen }: TemplateRule, before: unknown, after: unknown): boolean {
  if (keepVotesWhen === undefined) return false
  try {
    return checkCriteria("keepVotesWhen", keepVotesWhen).evaluate({ before, after }) === true
  } catch (error) {
    faultOf(error)
    return false
  }
}
