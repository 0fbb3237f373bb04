import { AppError } from "@signalbox/kernel/app-error"

/** @throws request.invalid-input where a text holds what PostgreSQL can't store: a zero byte, half a surrogate pair */
export function refuseUnstorable(input: unknown, path = "input"): void {
  if (typeof input === "string") {
    if (input.includes("\0") || !input.isWellFormed())
      throw new AppError("request.invalid-input", `${path} holds a character that can't be stored`, {
        issues: [{ path, message: "a zero byte, or half of a surrogate pair" }],
      })
  } else if (typeof input === "object" && input !== null) {
    for (const [key, value] of Object.entries(input)) refuseUnstorable(value, `${path}.${key}`)
  }
}
