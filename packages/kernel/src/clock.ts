/** The time as an input. Servers, agents and tests supply it; pure code receives `now` as a number. */
export interface Clock {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  now(): number
}

/** An instant on the wire: RFC 3339, UTC, milliseconds. @example toInstant(0) // "1970-01-01T00:00:00.000Z" */
export function toInstant(milliseconds: number): string {
  return new Date(milliseconds).toISOString()
}
