/** Texts of an order: prepared once for a run, filled for each node. Pure. */
import type { CommandOrder, Text } from "@signalbox/contracts/fleet/agent-protocol"
import type { CommandText } from "@signalbox/contracts/workflows/steps"
import { AppError } from "@signalbox/kernel/app-error"
import { renderShell } from "./shell-template.ts"
import {
  fillTemplate,
  fillText,
  isLate,
  parseTemplate,
  variableOf,
  type KnownReference,
  type LateReference,
  type TemplatePart,
} from "./template.ts"

export type ValueOf = (reference: KnownReference) => string
export type Fill<T> = (valueOf: ValueOf) => T

export function textFiller(text: string): Fill<Text> {
  const parts = parseTemplate(text)
  return parts.every(isFixed) ? always(parts.join("")) : (valueOf) => fillText(parts, valueOf)
}

/** Of a text that has neither secrets nor outputs in it. */
export function fixedFiller(text: string): Fill<string> {
  const parts = parseTemplate(text)
  return parts.every(isFixed) ? always(parts.join("")) : (valueOf) => fillTemplate(parts, valueOf)
}

const isFixed = (part: TemplatePart): part is string => typeof part === "string"
/** A text that is the same for every node. */
const always = (text: string) => () => text

/** A path within the node's root: `/etc/x` is `etc/x` there. */
export function pathFiller(text: string): Fill<string> {
  const fill = fixedFiller(text)
  return (valueOf) => {
    const path = fill(valueOf).replace(/^\/+/, "")
    if (path.split("/").includes("..") || path.includes("\0"))
      throw new AppError("workflows.invalid-template", `the path "${path.slice(0, 200)}" leads upwards`)
    return path === "" ? "." : path
  }
}

export function recordFiller(record: Readonly<Record<string, string | number | boolean>>): Fill<Record<string, Text>> {
  const fillers = Object.entries(record).map(([name, value]) => [name, textFiller(String(value))] as const)
  return (valueOf) => Object.fromEntries(fillers.map(([name, fill]) => [name, fill(valueOf)]))
}

export function commandFiller(command: CommandText): Fill<CommandOrder> {
  if (typeof command === "string") {
    const shell = renderShell(parseTemplate(command))
    return () => ({ shell })
  }
  const words = command.map((word) => textFiller(word))
  return (valueOf) => ({ argv: words.map((fill) => fill(valueOf)) })
}

/** The variables through which a shell text finds secrets and outputs; everything else it finds in each step's. */
export function lateVariables(command: CommandText | undefined): Record<string, Text> {
  if (typeof command !== "string") return {}
  const late = parseTemplate(command).filter((part): part is LateReference => typeof part !== "string" && isLate(part))
  return Object.fromEntries(late.map((part) => [variableOf(part), fillText([part], noValue)]))
}

function noValue(): never {
  throw new AppError("workflows.invalid-template", "a text without templates asked for a value")
}
