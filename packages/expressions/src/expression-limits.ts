/** What bounds an expression: the first four when it is compiled, the others each time it is evaluated. */
export const expressionLimits = {
  textLengthMax: 4096,
  nodesMax: 500,
  depthMax: 60,
  /** How deep `all`, `exists`, `exists_one`, `filter` and `map` may stand inside one another. */
  comprehensionDepthMax: 2,
  /** Turns of all comprehensions of one evaluation together. */
  turnsMax: 20_000,
  /**
   * Characters and items that one evaluation looks at or makes, at most about a fifth of a second. A pattern looks at
   * each character once for each instruction of its program.
   */
  workMax: 4_000_000,
  /** Characters of a text, and items of a list, that an expression makes. */
  madeSizeMax: 65_536,
  /** Characters of a text that a pattern is held against. */
  matchedLengthMax: 65_536,
} as const
