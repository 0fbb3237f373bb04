import { agentLimits, type StepResult, type TaskOrder } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError } from "@signalbox/kernel/app-error"
import type { ExpressionOptions } from "@signalbox/expressions/compile-expression"
import type { TryResult } from "./try-result.ts"

/** What later conditions see of a step. */
export interface StepFacts {
  readonly state: StepResult["state"]
  readonly exitCode?: number
  readonly changed: boolean
  readonly outputs: Readonly<Record<string, string>>
}

const conditionVariables: ExpressionOptions["variables"] = {
  params: { map: "dyn" },
  node: { fields: { id: "string", name: "string", tags: { map: "string" } } },
  steps: { map: { fields: { state: "string", exitCode: "int", changed: "bool", outputs: { map: "string" } } } },
}
const outputVariables: ExpressionOptions["variables"] = { result: { map: "dyn" } }

export interface ConditionData {
  readonly facts: TaskOrder["facts"]
  readonly steps: Readonly<Record<string, StepFacts>>
}

/** @throws expressions.invalid, expressions.evaluation-failed */
export async function isWanted(when: string, { facts, steps }: ConditionData): Promise<boolean> {
  const compile = await loadCompiler()
  const data = { params: facts?.params ?? {}, node: facts?.node ?? {}, steps }
  return compile(when, { variables: conditionVariables, resultType: "bool" }).evaluate(data) === true
}

/**
 * What a step that succeeded passes on: what it wrote by itself, and what the order makes of its result.
 *
 * @throws expressions.invalid, expressions.evaluation-failed, agent.step-refused where it is more than the limits allow
 */
export async function evaluateOutputs(
  expressions: Readonly<Record<string, string>> | undefined,
  result: TryResult,
): Promise<Record<string, string>> {
  const outputs: Record<string, string> = { ...result.values }
  if (expressions && Object.keys(expressions).length > 0) {
    const compile = await loadCompiler()
    const data = { result: resultData(result) }
    for (const [name, expression] of Object.entries(expressions)) {
      const compiled = compile(expression, { variables: outputVariables, resultType: "any" })
      outputs[name] = textOf(compiled.evaluate(data))
    }
  }
  checkLengths(outputs)
  return outputs
}

/** Streams end without their last line breaks, as in `$(command)`. */
function resultData(result: TryResult): Record<string, unknown> {
  const { exitCode, stdout, stderr, changed, values = {}, reply } = result
  const stream = (kept: typeof stdout) => (kept ? `${kept.head}${kept.tail}`.replace(/\n+$/, "") : "")
  return {
    ...(exitCode !== undefined && { exitCode }),
    ...(changed !== undefined && { changed }),
    stdout: stream(stdout),
    stderr: stream(stderr),
    outputs: values,
    ...reply,
  }
}

function textOf(value: unknown): string {
  if (typeof value === "string") return value
  if (typeof value === "number" || typeof value === "boolean") return String(value)
  return value === null || value === undefined ? "" : JSON.stringify(value)
}

function checkLengths(outputs: Readonly<Record<string, string>>): void {
  const { outputValueLengthMax } = agentLimits
  const long = Object.entries(outputs).find(([, value]) => value.length > outputValueLengthMax)
  if (!long) return
  throw new AppError("agent.step-refused", `the output "${long[0]}" has more than ${outputValueLengthMax} characters`)
}

/** Of all outputs of a task together. @throws agent.step-refused */
export function checkTotalLength(steps: Readonly<Record<string, StepFacts>>): void {
  let length = 0
  for (const { outputs } of Object.values(steps)) for (const value of Object.values(outputs)) length += value.length
  const { outputValuesLengthMax } = agentLimits
  if (length <= outputValuesLengthMax) return
  throw new AppError("agent.step-refused", `the task's outputs have more than ${outputValuesLengthMax} characters`)
}

export function factsOf(result: StepResult): StepFacts {
  const { state, exitCode, changed, outputs = {} } = result
  return { state, ...(exitCode !== undefined && { exitCode }), changed: changed ?? state !== "skipped", outputs }
}

/** Loaded by the first condition: an idle agent has no use for it. */
async function loadCompiler() {
  const { compileExpression } = await import("@signalbox/expressions/compile-expression")
  return compileExpression
}
