/** What a step that the server performs comes to: texts filled in, answers judged. Pure. */
import type { WorkflowDocument } from "@signalbox/contracts/workflows/document"
import type { HttpCall, OperationCall } from "@signalbox/contracts/workflows/steps"
import { getDuration } from "@signalbox/kernel/duration"
import { isCommand, templateTexts } from "./document-texts.ts"
import { lateText, type LateValues } from "./late-text.ts"
import { textFiller, type ValueOf } from "./order-texts.ts"
import { parseTemplate } from "./template.ts"

export type ServerCall =
  | {
      readonly kind: "http"
      readonly name: string
      readonly method: HttpCall["method"]
      readonly url: string
      readonly headers: Readonly<Record<string, string>>
      readonly body?: string
      readonly timeoutMilliseconds: number
      readonly isExpected: (status: number) => boolean
      readonly retrySafe: boolean
    }
  | {
      readonly kind: "operation"
      readonly name: string
      readonly operation: string
      readonly input: unknown
      readonly timeoutMilliseconds: number
      /** The router carries a repeated key out once. */
      readonly retrySafe: true
    }

/** Where a call stands in a document. */
export interface CallPlace {
  readonly step: number
  readonly phase: "task" | "rollback"
}

const safeMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "PUT", "DELETE"])

/** The call that stands at a place of a document; undefined where none does. */
export function findCall(document: WorkflowDocument, place: CallPlace): HttpCall | OperationCall | undefined {
  const step = document.steps[place.step]
  if (step === undefined || place.phase === "task") return step?.http ?? step?.operation
  const { undo } = step
  if (undo === undefined || isCommand(undo)) return undefined
  if ("http" in undo) return undo.http
  return "operation" in undo ? undo.operation : undefined
}

/** The secrets that a call names. */
export function secretsOf(document: WorkflowDocument, place: CallPlace): string[] {
  const part = place.phase === "task" ? ["http", "operation"] : ["undo"]
  const texts = templateTexts(document).filter(
    ({ step, path }) => step === place.step && part.includes(String(path[2])),
  )
  const names = texts.flatMap(({ text }) =>
    parseTemplate(text).flatMap((found) => (typeof found !== "string" && found.kind === "secret" ? [found.name] : [])),
  )
  return [...new Set(names)]
}

/** @throws workflows.invalid-template where a secret or an output is missing, or a header would be broken */
export function resolveCall(
  document: WorkflowDocument,
  place: CallPlace,
  filling: { readonly valueOf: ValueOf; readonly late: LateValues },
): ServerCall | undefined {
  const call = findCall(document, place)
  const step = document.steps[place.step]
  if (call === undefined || step === undefined) return undefined
  const fill = (text: string): string => lateText(textFiller(text)(filling.valueOf), filling.late)
  const name = step.name ?? `step ${place.step + 1}`
  const timeoutMilliseconds = Math.max(1, getDuration(step.timeout ?? document.timeout))
  if (!("url" in call)) {
    const input = fillJson(call.input, fill)
    return { kind: "operation", name, operation: call.name, input, timeoutMilliseconds, retrySafe: true }
  }
  const { status } = call
  return {
    kind: "http",
    name,
    method: call.method,
    url: fill(call.url),
    headers: Object.fromEntries(Object.entries(call.headers).map(([header, text]) => [header, fill(text)])),
    ...(call.body === undefined ? {} : { body: fill(call.body) }),
    timeoutMilliseconds: Math.min(timeoutMilliseconds, httpTimeoutMillisecondsMax),
    isExpected: (given) => (status === undefined ? given >= 200 && given < 300 : status.includes(given)),
    retrySafe: call.retrySafe ?? safeMethods.has(call.method),
  }
}

/** One HTTP call is no place to wait in; what takes longer is asked for again. */
export const httpTimeoutMillisecondsMax = 300_000

/** A text that is one template alone and reads as a number or a boolean stays a text: inputs say what they are. */
function fillJson(value: unknown, fill: (text: string) => string): unknown {
  if (typeof value === "string") return fill(value)
  if (Array.isArray(value)) return value.map((member) => fillJson(member, fill))
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, fillJson(member, fill)]))
}
