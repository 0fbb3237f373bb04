import { triggerLimits } from "@signalbox/contracts/triggers/trigger-limits"
import { AppError } from "@signalbox/kernel/app-error"
import { refuseUnstorable } from "../../router/storable-text.ts"
import type { HookSpec } from "./hook-verification.ts"

/** What rules see of a message, besides its hook. Pure. */

/** @throws triggers.invalid-message, request.invalid-input for what can't be stored */
export function readBody(body: Buffer, contentType: string): unknown {
  const mediaType = contentType.split(";", 1)[0]?.trim().toLowerCase() ?? ""
  const text = body.toString("utf8")
  const value =
    mediaType === "application/x-www-form-urlencoded" ? Object.fromEntries(new URLSearchParams(text)) : parse(text)
  refuseUnstorable(value, "body")
  return value
}

function parse(text: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new AppError("triggers.invalid-message", "the body is neither JSON nor a form", { cause })
  }
  if (typeof value === "object" && value !== null) return value
  throw new AppError("triggers.invalid-message", "the body is JSON, but no object and no array")
}

const headersOfAll = ["content-type", "user-agent"]
const headersOfKind: Readonly<Partial<Record<HookSpec["verify"], readonly string[]>>> = {
  github: ["x-github-event", "x-github-delivery"],
  standard: ["webhook-id"],
}

/** Those that rules may see; none that carries a credential or a signature, unless the hook names it. */
export function visibleHeaders(
  spec: HookSpec,
  headers: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const names = new Set([...headersOfAll, ...(headersOfKind[spec.verify] ?? []), ...spec.headers])
  return Object.fromEntries(
    [...names].flatMap((name) => {
      const value = headers[name]
      return value === undefined ? [] : [[name, value.slice(0, triggerLimits.hookHeaderLengthMax)]]
    }),
  )
}
