import type { Started } from "../router/follow-stage.ts"

export const startedHeader = "signalbox-started"
const startedShownMax = 50

/** The runs that rules have started; of very many the first, and where all are listed: clients bound their headers. */
export function startedText({ event, runs }: Started): string | undefined {
  if (runs.length === 0) return undefined
  const shown = runs.slice(0, startedShownMax).map((id) => `/v1/actions/${id}`)
  const all = runs.length > startedShownMax ? [`/v1/actions?trigger=${event}`] : []
  return [...shown, ...all].join(", ")
}
