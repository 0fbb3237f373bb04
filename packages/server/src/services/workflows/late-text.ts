/** Texts with what the plan did not know: values of secrets, outputs of earlier steps. Pure. */
import type { Text } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError } from "@signalbox/kernel/app-error"

export interface LateValues {
  readonly secrets: Readonly<Record<string, string>>
  readonly values: Readonly<Record<string, Readonly<Record<string, string>>>>
}

/** @throws workflows.invalid-template where a secret or an output is missing */
export function lateText(text: Text, late: LateValues): string {
  if (typeof text === "string") return text
  return text.map((part) => (typeof part === "string" ? part : lateValue(part, late))).join("")
}

function lateValue(part: Exclude<Exclude<Text, string>[number], string>, { secrets, values }: LateValues): string {
  if ("secret" in part) {
    const value = secrets[part.secret]
    if (value !== undefined) return value
    throw new AppError("workflows.invalid-template", `there is no secret "${part.secret}"`)
  }
  const outputs = Object.hasOwn(values, part.step) ? values[part.step] : undefined
  const value = outputs && Object.hasOwn(outputs, part.output) ? outputs[part.output] : undefined
  if (value !== undefined) return value
  throw new AppError("workflows.invalid-template", `step "${part.step}" has brought no output "${part.output}"`)
}
