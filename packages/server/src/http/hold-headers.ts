import type { IncomingHttpHeaders } from "node:http"
import { resourceName } from "@signalbox/contracts/schemas"
import { AppError } from "@signalbox/kernel/app-error"
import type { HoldWishes } from "../router/gate-ports.ts"

/** What a caller may say beside a call that could be held for approval. */
const breakGlassLengthMax = 1000
const waitSecondsMax = 60

/** `Signalbox-Not-Before`, `Signalbox-Window`, `Signalbox-Break-Glass`. @throws request.invalid-input */
export function readHoldWishes(headers: IncomingHttpHeaders): HoldWishes | undefined {
  const notBefore = textOf(headers, "signalbox-not-before")
  const window = textOf(headers, "signalbox-window")
  const breakGlass = textOf(headers, "signalbox-break-glass")
  if (notBefore === undefined && window === undefined && breakGlass === undefined) return undefined
  return {
    ...(notBefore === undefined ? {} : { notBefore: readInstant(notBefore) }),
    ...(window === undefined ? {} : { window: readWindow(window) }),
    ...(breakGlass === undefined ? {} : { breakGlass: readReason(breakGlass) }),
  }
}

/** Seconds of `Prefer: wait=30` (RFC 7240), cut to what a server waits at most. */
export function readWait(headers: IncomingHttpHeaders): number {
  const match = /(?:^|[,;\s])wait=([0-9]{1,6})(?:$|[,;\s])/i.exec(textOf(headers, "prefer") ?? "")
  return Math.min(Number(match?.[1] ?? 0), waitSecondsMax)
}

function textOf(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name]
  return Array.isArray(value) ? value.join(", ") : value
}

function readInstant(text: string): number {
  const milliseconds = /^\d{4}-\d{2}-\d{2}T[0-9:.]+(?:Z|[+-]\d{2}:\d{2})$/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(milliseconds)) throw refused("Signalbox-Not-Before", "an instant such as 2030-01-31T03:00:00Z")
  return milliseconds
}

function readWindow(text: string): string {
  if (!resourceName.safeParse(text).success) throw refused("Signalbox-Window", "the name of a maintenance window")
  return text
}

/** Headers are Latin-1 on the wire; what is not is sent percent-encoded. */
function readReason(text: string): string {
  const reason = decodeReason(text).trim()
  if (reason.length === 0 || reason.length > breakGlassLengthMax)
    throw refused("Signalbox-Break-Glass", `a reason of 1 to ${breakGlassLengthMax} characters`)
  return reason
}

function decodeReason(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function refused(header: string, expected: string): AppError {
  return new AppError("request.invalid-input", `the header ${header} takes ${expected}`)
}
