import type { CallInputOf } from "@signalbox/contracts/operation"
import type { rulesPut } from "@signalbox/contracts/rules/operations"
import { stringify } from "yaml"

type Rule = CallInputOf<typeof rulesPut>

/** A rule as a document, always written the same way, so that two of them can be compared. */
export function ruleText(rule: Rule): string {
  const { name, description, enabled, on, correlate, when, limit, budget } = rule
  return stringify(
    JSON.parse(
      JSON.stringify({
        kind: "Rule",
        ...{ name, description, enabled, on: on?.map(sorted), correlate: correlate && sorted(correlate), when },
        limit: limit && sorted(limit),
        ...{ budget: budget && sorted(budget), do: rule.do.map(sorted) },
      }),
    ),
  )
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, sorted(member)]),
  )
}
