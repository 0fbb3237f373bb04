/** What a step's `when` and `outputs` see, for whoever checks, evaluates or explains them. Pure. */
import { agentLimits } from "@signalbox/contracts/fleet/agent-protocol"
import { compileExpression } from "@signalbox/expressions/compile-expression"
import type { VariableType } from "@signalbox/expressions/variable-type"

export const conditionVariables: Readonly<Record<string, VariableType>> = {
  params: { map: "dyn" },
  node: { fields: { id: "string", name: "string", tags: { map: "string" } } },
  steps: {
    map: {
      fields: { state: "string", exitCode: "int", changed: "bool", outputs: { map: "string" } },
    },
  },
}

/** `result` is what a step brought: of a command exitCode, stdout, stderr and outputs; of a call what was replied. */
export const outputVariables: Readonly<Record<string, VariableType>> = { result: { map: "dyn" } }

/** Tags that a condition names, as `node.tags.KEY` or `node.tags["KEY"]`; they may be missing. */
export function tagsNamed(condition: string): string[] {
  const found = condition.matchAll(/\bnode\.tags(?:\.([A-Za-z_][A-Za-z0-9_]*)|\[\s*(["'])([^"'\\]{1,63})\2\s*\])/g)
  const inside = condition.matchAll(/(["'])([A-Za-z][A-Za-z0-9._/-]{0,62})\1\s+in\s+node\.tags\b/g)
  return [
    ...new Set([
      ...[...found].map((match) => match[1] ?? match[3] ?? ""),
      ...[...inside].map((match) => match[2] ?? ""),
    ]),
  ]
}

/** What later steps see of one that has ended. */
export interface StepFacts {
  readonly state: string
  readonly outputs: Readonly<Record<string, string>>
  readonly exitCode?: number
  readonly changed?: boolean
}

export interface TaskFacts {
  readonly params: Readonly<Record<string, string | number | boolean>>
  readonly node: { readonly id: string; readonly name: string; readonly tags: Readonly<Record<string, string>> }
}

/** Whether a step is to run. @throws expressions.invalid, expressions.evaluation-failed */
export function isWanted(
  when: string | undefined,
  facts: TaskFacts,
  steps: Readonly<Record<string, StepFacts>>,
): boolean {
  if (when === undefined) return true
  const condition = compileExpression(when, { variables: conditionVariables, resultType: "bool" })
  return condition.evaluate({ ...facts, steps }) === true
}

/** The outputs that a step makes of its result, as texts. @throws expressions.invalid, expressions.evaluation-failed */
export function outputsOf(
  declared: Readonly<Record<string, string>> | undefined,
  result: Readonly<Record<string, unknown>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(declared ?? {}).map(([name, text]) => {
      const value = compileExpression(text, { variables: outputVariables, resultType: "any" }).evaluate({ result })
      const shown = typeof value === "string" ? value : (JSON.stringify(value) ?? "null")
      return [name, shown.slice(0, agentLimits.outputValueLengthMax)]
    }),
  )
}
