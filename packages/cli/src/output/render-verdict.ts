import type { OutputOf } from "@signalbox/contracts/operation"
import type { rulesTest } from "@signalbox/contracts/rules/operations"
import { safeLine } from "./safe-text.ts"

type Verdict = OutputOf<typeof rulesTest>

/** What a rule makes of an event or a call, and why: the parts of its condition, those that decided with a mark. */
export function renderVerdict(verdict: Verdict): string {
  const { rule, version, outcome, reason, conditions, effects, warnings = [] } = verdict
  const name = version === undefined ? `${rule} (draft)` : `${rule}@${version}`
  const lines = [
    `${name}: ${outcome}: ${reason}`,
    ...conditions.map((part) => {
      const said = part.fault === undefined ? JSON.stringify(part.value) : `no result (${part.fault})`
      return `${part.decisive ? "*" : " "} ${"  ".repeat(part.depth)}${part.text} = ${said}`
    }),
    ...effects.map(({ kind, operation, input, text, fault }) => {
      const what = operation === undefined ? kind : `call ${operation}`
      const rest = fault === undefined ? (text ?? JSON.stringify(input)) : `can't be filled: ${fault}`
      return `> ${what} ${rest ?? ""}`
    }),
    ...warnings.map(({ path, message }) => `warning: ${path}: ${message}`),
  ]
  return `${lines.map((line) => safeLine(line)).join("\n")}\n`
}
