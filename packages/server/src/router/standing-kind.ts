import type { Caller } from "./handler.ts"

/** The kind of a caller that acts in its author's name, by its principal: `schedule:<name>` or `rule:<name>`. */
export function standingKindOf(principal: string): Extract<Caller["kind"], "schedule" | "rule"> {
  return principal.startsWith("rule:") ? "rule" : "schedule"
}
