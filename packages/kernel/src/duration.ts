import { AppError } from "./app-error.ts"

const unitMilliseconds: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const short = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/
const iso = /^P(?=.)(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d{1,3})?)S)?)?$/

/** The longest duration that is accepted anywhere: 400 days. */
export const durationMillisecondsMax = 400 * 86_400_000

/**
 * Milliseconds of a duration as written in YAML and on the command line (`30s`, `1h30m`, `250ms`) or on the wire
 * (ISO 8601: `PT30S`). Undefined where the text is neither or is longer than 400 days.
 */
export function findDuration(text: string): number | undefined {
  let total: number | undefined
  const match = text.length <= 40 ? iso.exec(text) : null
  if (match) {
    const [, days = "0", hours = "0", minutes = "0", seconds = "0"] = match
    total =
      Number(days) * 86_400_000 +
      Number(hours) * 3_600_000 +
      Number(minutes) * 60_000 +
      Math.round(Number(seconds) * 1000)
  } else if (text.length <= 40 && short.test(text)) {
    total = 0
    for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
      total += Number(count) * (unitMilliseconds[unit ?? ""] ?? Number.NaN)
    }
    total = Math.round(total)
  }
  return total !== undefined && total <= durationMillisecondsMax ? total : undefined
}

/** As `findDuration`. @throws request.invalid-input */
export function getDuration(text: string): number {
  const found = findDuration(text)
  if (found === undefined)
    throw new AppError("request.invalid-input", `"${text}" is no duration; write 30s, 5m, 1h30m or PT30S`)
  return found
}

/** A duration for people: the two largest units. @example formatDuration(95_000) // "1m35s" */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)}ms`
  if (milliseconds < 10_000) return `${(milliseconds / 1000).toFixed(1)}s`
  const seconds = Math.round(milliseconds / 1000)
  const parts: Array<[number, string]> = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ]
  const first = parts.findIndex(([count]) => count > 0)
  return parts
    .slice(first, first + 2)
    .filter(([count], index) => index === 0 || count > 0)
    .map(([count, unit]) => `${count}${unit}`)
    .join("")
}

/** A duration on the wire, in whole milliseconds. @example toIsoDuration(90_000) // "PT1M30S" */
export function toIsoDuration(milliseconds: number): string {
  const days = Math.floor(milliseconds / 86_400_000)
  const hours = Math.floor(milliseconds / 3_600_000) % 24
  const minutes = Math.floor(milliseconds / 60_000) % 60
  const seconds = (milliseconds % 60_000) / 1000
  const time = `${hours > 0 ? `${hours}H` : ""}${minutes > 0 ? `${minutes}M` : ""}${seconds > 0 ? `${seconds}S` : ""}`
  if (days === 0 && time === "") return "PT0S"
  return `P${days > 0 ? `${days}D` : ""}${time === "" ? "" : `T${time}`}`
}
