/** What the conditions of rules see: of a call, or of an event. Pure. */
import type { AnyOperation } from "@signalbox/contracts/operation"
import type { VariableType } from "@signalbox/expressions/variable-type"
import { toInstant } from "@signalbox/kernel/clock"
import type { RuleData } from "@signalbox/rules/evaluate-rules"
import type { RuleCall, RuleEvent } from "../../router/rule-ports.ts"
import { isOptionalAt, shapeOfAny, typeOf, type Shape } from "./operation-shapes.ts"

export interface RuleVariables {
  readonly variables: Readonly<Record<string, VariableType>>
  /** Whether what a path reads may be absent: the variable and its fields. */
  readonly isOptional: (path: readonly string[]) => boolean
}

const texts: VariableType = { list: "string" }
const callerType: VariableType = { fields: { principal: "string", kind: "string", roles: texts, teams: texts } }
const eventType: VariableType = {
  fields: {
    ...{ id: "string", type: "string", subject: "string", time: "timestamp", cause: "string" },
    ...{ depth: "int", principal: "string", data: "dyn" },
  },
}

export function callVariables(
  operations: readonly (AnyOperation | undefined)[],
  phase: "before" | "after",
): RuleVariables {
  return shapedVariables({ input: shapeOfAny(operations, "input"), output: shapeOfAny(operations, "output") }, phase)
}

export function shapedVariables(
  { input, output }: { readonly input: Shape; readonly output: Shape },
  phase: "before" | "after",
): RuleVariables {
  return {
    variables: {
      ...{ operation: "string", input: typeOf(input), caller: callerType },
      ...(phase === "after" && { output: typeOf(output) }),
    },
    isOptional: ([variable, ...path]) =>
      variable === "input" ? isOptionalAt(input, path) : variable === "output" && isOptionalAt(output, path),
  }
}

export const eventVariables: RuleVariables = { variables: { event: eventType }, isOptional: () => false }

export function dataOfCall({ operation, input, caller }: RuleCall): RuleData {
  const { principal, kind, roles, teams = [] } = caller
  return { operation, input, caller: { principal, kind, roles, teams } }
}

export function dataOfEvent({ id, type, subject, time, cause, depth, principal, data }: RuleEvent): RuleData {
  return { event: { id, type, subject, time: toInstant(time), cause, depth, principal, data } }
}
