/** What a step's `when` and `outputs` see, for whoever checks, evaluates or explains them. Pure. */
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
