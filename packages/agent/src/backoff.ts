import type { Random } from "@signalbox/kernel/random"

/** A fraction from 0 up to 1, drawn from injected randomness. */
export function drawFraction(random: Random): number {
  return Buffer.from(random.bytes(4)).readUInt32BE() / 2 ** 32
}

/** Full jitter: anywhere between the least delay and a bound that doubles with each failure up to the longest. */
export function backoffMilliseconds(
  failures: number,
  bounds: { readonly least: number; readonly longest: number },
  fraction: number,
): number {
  const bound = Math.min(bounds.longest, bounds.least * 2 ** Math.min(failures, 30))
  return bounds.least + Math.floor(fraction * Math.max(0, bound - bounds.least))
}
