import type { Firing } from "../router/rule-ports.ts"

/** Tells which rules rewrote or hold a call. */
export const rulesHeader = "signalbox-rules"

export function rulesText(firings: readonly Firing[]): string {
  return firings.map(({ rule, version }) => `${rule}@${version}`).join(", ")
}
