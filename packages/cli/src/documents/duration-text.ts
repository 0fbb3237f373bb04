import { findDuration, toIsoDuration } from "@signalbox/kernel/duration"

/** A duration as the server tells it, however it was written. @example durationText("90s") // "PT1M30S" */
export function durationText(text: string): string {
  const milliseconds = findDuration(text)
  return milliseconds === undefined ? text : toIsoDuration(milliseconds)
}
