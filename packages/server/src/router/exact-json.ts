import { AppError } from "@signalbox/kernel/app-error"

/** Numbers of more digits than a double keeps would be written anew as others. */
const exactDigitsMax = 15

/** Undefined where it could not be written anew as the same. @throws request.invalid-json */
export function parseExactly(text: string): { readonly value: unknown } | undefined {
  let isExact = true
  const note = (_name: string, value: unknown, context?: { readonly source?: string }): unknown => {
    const source = context?.source
    if (typeof value === "number" && source !== undefined) {
      const digits = source.replace(/e.*$/i, "").replaceAll(/[-.]/g, "").replace(/^0+/, "")
      isExact &&= Number.isFinite(value) && digits.length <= exactDigitsMax
    }
    return value
  }
  try {
    const value: unknown = JSON.parse(text, note)
    return isExact ? { value } : undefined
  } catch (cause) {
    throw new AppError("request.invalid-json", "the body is not valid JSON", { cause })
  }
}
