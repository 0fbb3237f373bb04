/** An expression as read: what is compiled, and what an index of conditions can be taken from. `at` is an offset. */
export type ExpressionNode = LiteralNode | NameNode | SelectNode | CallNode | ListNode | MapNode | ComprehensionNode

export interface LiteralNode {
  readonly is: "literal"
  readonly at: number
  readonly type: "bool" | "int" | "double" | "string" | "null"
  readonly value: boolean | number | string | null
}

export interface NameNode {
  readonly is: "name"
  readonly at: number
  readonly name: string
}

/** `operand.field`, or where `isTest` is set `has(operand.field)`. */
export interface SelectNode {
  readonly is: "select"
  readonly at: number
  readonly operand: ExpressionNode
  readonly field: string
  readonly isTest: boolean
}

/** An operator (`_&&_`, `_[_]`, `_?_:_`, `@in`, …), a function, or with a target a method. */
export interface CallNode {
  readonly is: "call"
  readonly at: number
  readonly name: string
  readonly target: ExpressionNode | undefined
  readonly args: readonly ExpressionNode[]
}

export interface ListNode {
  readonly is: "list"
  readonly at: number
  readonly items: readonly ExpressionNode[]
}

export interface MapNode {
  readonly is: "map"
  readonly at: number
  readonly entries: ReadonlyArray<readonly [key: ExpressionNode, value: ExpressionNode]>
}

export const comprehensionNames = ["all", "exists", "exists_one", "filter", "map"] as const
export type ComprehensionName = (typeof comprehensionNames)[number]

export interface ComprehensionNode {
  readonly is: "comprehension"
  readonly at: number
  readonly name: ComprehensionName
  readonly range: ExpressionNode
  readonly variable: string
  /** Of `map` with three arguments: which items are mapped. */
  readonly filter: ExpressionNode | undefined
  readonly body: ExpressionNode
}
