import { AppError } from "@signalbox/kernel/app-error"

/** Deeper than any input has to be; what follows may then go through an input by recursion. */
const depthMax = 64

/**
 * @throws request.invalid-input where a text holds what PostgreSQL can't store (a zero byte, half a surrogate pair),
 * where a number is none any more (1e999), or where an input is nested without end
 */
export function refuseUnstorable(input: unknown, path = "input", depth = 0): void {
  if (typeof input === "string") {
    if (input.includes("\0") || !input.isWellFormed())
      throw refusal(path, "holds a character that can't be stored", "a zero byte, or half of a surrogate pair")
  } else if (typeof input === "number") {
    if (!Number.isFinite(input)) throw refusal(path, "is too large a number", "write a number below 1.8e308")
  } else if (typeof input === "object" && input !== null) {
    if (depth >= depthMax) throw refusal("input", "is nested too deep", `at most ${depthMax} deep`)
    for (const [key, value] of Object.entries(input)) refuseUnstorable(value, `${path}.${key}`, depth + 1)
  }
}

function refusal(path: string, what: string, message: string): AppError {
  return new AppError("request.invalid-input", `${path} ${what}`, { issues: [{ path, message }] })
}
