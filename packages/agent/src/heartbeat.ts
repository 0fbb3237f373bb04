interface SignsOfLife {
  /** By `performance.now()`. */
  readonly now: number
  readonly lastHeard: number
  readonly lastSent: number
  readonly beatMilliseconds: number
}

/**
 * Whether a session has to show that it lives, and when to look again. While frames go both ways those are signs enough:
 * a beat is due only where either side was quiet for half of its time, so neither ever is for longer than that time.
 */
export function nextBeat({ now, lastHeard, lastSent, beatMilliseconds }: SignsOfLife): {
  readonly isDue: boolean
  readonly lookInMilliseconds: number
} {
  const quietMilliseconds = now - Math.min(lastHeard, lastSent)
  const isDue = quietMilliseconds >= beatMilliseconds / 2
  return { isDue, lookInMilliseconds: isDue ? beatMilliseconds : beatMilliseconds - quietMilliseconds }
}
