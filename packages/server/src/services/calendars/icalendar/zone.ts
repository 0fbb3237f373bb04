import { wallTime } from "../zone-clock.ts"

/** A time zone: by how much its clock is ahead of UTC, when. */
export interface Zone {
  /** The same for zones with the same rules. */
  readonly key: string
  /** Milliseconds, at an instant. */
  offsetAt(instant: number): number
}

export const utcZone: Zone = { key: "UTC", offsetAt: () => 0 }

const dayMilliseconds = 86_400_000
const daysKeptMax = 20_000

/** A zone of the IANA database; undefined where there is none of this name. */
export function findNamedZone(name: string): Zone | undefined {
  if (!/^[A-Za-z][A-Za-z0-9_+/-]*$/.test(name)) return undefined
  try {
    new Intl.DateTimeFormat("en", { timeZone: name })
  } catch {
    return undefined
  }
  // Asking the formatter costs microseconds: days on which the clock isn't changed are asked about once.
  const steady = new Map<number, number>()
  const ask = (instant: number): number => {
    const whole = Math.floor(instant / 1000) * 1000
    return wallTime(whole, name) - whole
  }
  return {
    key: name,
    offsetAt(instant) {
      const day = Math.floor(instant / dayMilliseconds)
      const known = steady.get(day)
      if (known !== undefined) return known
      const first = ask(day * dayMilliseconds)
      if (first !== ask((day + 1) * dayMilliseconds)) return ask(instant)
      if (steady.size >= daysKeptMax) steady.clear()
      steady.set(day, first)
      return first
    },
  }
}

export function toWall(zone: Zone, instant: number): number {
  return instant + zone.offsetAt(instant)
}

/**
 * The instant at which the clock of a zone shows a time, by the rules of RFC 5545, 3.3.5: of a time that comes twice the
 * first; of one that the clock is put forward over, the one that it would have been by the offset before.
 */
export function toInstant(zone: Zone, wall: number): number {
  const before = zone.offsetAt(wall - dayMilliseconds)
  const after = zone.offsetAt(wall + dayMilliseconds)
  const first = wall - before
  if (before === after || zone.offsetAt(first) === before) return first
  const second = wall - after
  return zone.offsetAt(second) === after ? second : first
}
