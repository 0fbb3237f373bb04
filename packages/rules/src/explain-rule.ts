import { isAppError } from "@signalbox/kernel/app-error"
import { compileExpression } from "@signalbox/expressions/compile-expression"
import type { ExpressionNode } from "@signalbox/expressions/expression-tree"
import { parseExpression } from "@signalbox/expressions/parse-expression"
import { printExpression } from "@signalbox/expressions/print-expression"
import { isTriggered, type RuleData } from "./evaluate-rules.ts"
import type { CompiledRule, RuleTrigger } from "./rule-source.ts"

/** A part of a condition, what it results in, and the parts that led to it. */
export interface ConditionExplanation {
  readonly text: string
  /** Absent where the part failed. */
  readonly value?: unknown
  readonly fault?: string
  /** One of those that made the whole condition what it is. */
  readonly isDecisive: boolean
  readonly parts: readonly ConditionExplanation[]
}

export interface RuleExplanation {
  readonly rule: string
  readonly version: number
  readonly outcome: "matched" | "not-triggered" | "not-matched" | "failed"
  /** Absent where the rule has no condition, or wasn't triggered. */
  readonly condition?: ConditionExplanation
}

/** Why a rule does or doesn't match. Slow: for people, not for the way of a call. */
export function explainRule(rule: CompiledRule, occurred: readonly RuleTrigger[], data: RuleData): RuleExplanation {
  const about = { rule: rule.id, version: rule.version }
  if (!isTriggered(rule, occurred)) return { ...about, outcome: "not-triggered" }
  if (rule.when === undefined) return { ...about, outcome: "matched" }
  const condition = explainNode(parseExpression(rule.when), { rule, data, isDecisive: true })
  const outcome = condition.fault === undefined ? (condition.value === true ? "matched" : "not-matched") : "failed"
  return { ...about, outcome, condition }
}

interface Explaining {
  readonly rule: CompiledRule
  readonly data: RuleData
  readonly isDecisive: boolean
}

function explainNode(node: ExpressionNode, context: Explaining): ConditionExplanation {
  const text = printExpression(node)
  const result = evaluatePart(text, context)
  const { isDecisive } = context
  if (node.is === "call" && (node.name === "_&&_" || node.name === "_||_" || node.name === "!_")) {
    const parts = node.args.map((arg) => explainNode(arg, context))
    // Of `a && b` that is false, the false ones decided; of one that is true, all did; of one that failed, the failed.
    const decided = parts.map((part) => markDecisive(part, isDecisive && (node.name === "!_" || isSame(part, result))))
    return { text, ...result, isDecisive, parts: decided }
  }
  return { text, ...result, isDecisive, parts: operandsOf(node).map((operand) => explainOperand(operand, context)) }
}

type Outcome = Pick<ConditionExplanation, "value" | "fault">

function isSame(part: Outcome, whole: Outcome): boolean {
  return whole.fault === undefined ? part.fault === undefined && part.value === whole.value : part.fault !== undefined
}

function markDecisive(part: ConditionExplanation, isDecisive: boolean): ConditionExplanation {
  if (isDecisive) return part
  return { ...part, isDecisive, parts: part.parts.map((each) => markDecisive(each, false)) }
}

function explainOperand(node: ExpressionNode, context: Explaining): ConditionExplanation {
  const text = printExpression(node)
  return { text, ...evaluatePart(text, context), isDecisive: context.isDecisive, parts: [] }
}

/** What a comparison or a function looks at, as far as it isn't written out. */
function operandsOf(node: ExpressionNode): readonly ExpressionNode[] {
  const isOpen = (each: ExpressionNode): boolean => each.is !== "literal" && each.is !== "list"
  if (node.is === "comprehension") return [node.range].filter(isOpen)
  if (node.is !== "call") return []
  return [...(node.target === undefined ? [] : [node.target]), ...node.args].filter(isOpen)
}

function evaluatePart(text: string, { rule, data }: Explaining): Outcome {
  try {
    const { variables } = rule
    return { value: compileExpression(text, { variables, resultType: "any" }).evaluate(data) }
  } catch (error) {
    if (!isAppError(error)) throw error
    return { fault: error.cause instanceof Error ? error.cause.message : error.message }
  }
}
