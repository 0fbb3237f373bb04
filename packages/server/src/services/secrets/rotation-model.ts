/**
 * The change of the master key. Pure.
 *
 *     (none) --rotate--> adopting --every server has both keys--> rewrapping --nothing lies under an older one--> (none)
 *
 * While it is under way both master keys open the installation; each arrow is one transaction. New values lie under the
 * new generation from `rewrapping` on: only then does every server know it.
 */
export interface Rotation {
  readonly stage: "adopting" | "rewrapping"
  /** Of the next master key, and the generation that begins with it. */
  readonly fingerprint: string
  readonly generation: number
  /** Milliseconds. */
  readonly startedAt: number
  readonly startedBy: string
  readonly account: string
  readonly cause: string
  readonly causedBy: string
  readonly depth: number
  /** Values wrapped anew so far. */
  readonly rewrapped: number
}

export interface ServersKnown {
  /** Servers that live now. */
  readonly live: readonly string[]
  readonly users: ReadonlyArray<{
    readonly serverId: string
    readonly fingerprint: string
    readonly generation: number
  }>
}

/** The servers that live and have not taken up the next master key; one of an older program never says so. */
export function serversWithout(rotation: Rotation, { live, users }: ServersKnown): string[] {
  const ready = users.filter(
    ({ fingerprint, generation }) => fingerprint === rotation.fingerprint && generation >= rotation.generation,
  )
  return live.filter((server) => !ready.some(({ serverId }) => serverId === server))
}

export type RotationStep = "wait" | "activate" | "rewrap" | "finish"

/** `foundOld`: what the last whole look found under older generations; undefined where there was none yet. */
export function nextStep(
  rotation: Rotation,
  known: ServersKnown & { readonly foundOld: number | undefined },
): RotationStep {
  const allReady = serversWithout(rotation, known).length === 0
  if (rotation.stage === "adopting") return allReady ? "activate" : "wait"
  if (known.foundOld !== 0) return "rewrap"
  return allReady ? "finish" : "wait"
}

const generationsKept = 8

/** Generation 1 marks inputs; of the others the last few still know the links that they signed. */
export function keptGenerations(generations: readonly number[]): number[] {
  const ordered = generations.toSorted((a, b) => b - a)
  return [...new Set([...ordered.slice(0, generationsKept), ...ordered.slice(-1)])]
}
