import { createHash } from "node:crypto"
import { decodeBase32, encodeBase32, idPrefixes } from "@signalbox/kernel/id"

/**
 * The id of a run: the same for the same event, rule and action for ever, so that a reply can name it before the run is
 * there, and an event that is handled twice makes one (D4). Sorts by the time of its event, as other ids do.
 */
export function actionRunId(eventId: string, of: { readonly rule: string; readonly number: number }): string {
  const bytes = createHash("sha256").update(`${eventId}\0${of.rule}\0${of.number}`).digest().subarray(0, 16)
  const time = decodeBase32(/^evt_([0-9a-z]{26})/.exec(eventId)?.[1] ?? "")?.subarray(0, 6)
  if (time !== undefined) bytes.set(time, 0)
  return `${idPrefixes.action}_${encodeBase32(bytes)}`
}

/** Where a run can be read. */
export function runUrl(publicUrl: string, id: string): string {
  return `${publicUrl.replace(/\/$/, "")}/v1/actions/${id}`
}
