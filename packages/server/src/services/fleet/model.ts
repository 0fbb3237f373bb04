import { limits, tagKey } from "@signalbox/contracts/schemas"
import { AppError } from "@signalbox/kernel/app-error"

/** The fleet's decisions: values in, values or refusals out. No I/O, no clock. */

export type Tags = Readonly<Record<string, string>>

const nodeIdPattern = /^nod_[0-9a-z]{26}$/

/** Ids and names share one place in the input, so no node may have a name that looks like an id. */
export function isNodeId(reference: string): boolean {
  return nodeIdPattern.test(reference)
}

/** What an enrolment key allows, as far as the decision goes; the source range is checked apart. */
export interface EnrollmentTerms {
  readonly id: string
  readonly usesMax: number
  readonly usesCount: number
  readonly expiresAt: number
  readonly tags: Tags
  readonly tagsAllowed: readonly string[]
}

/** @throws fleet.enrollment-key-expired, fleet.enrollment-key-used-up */
export function checkEnrollmentTerms(key: EnrollmentTerms, now: number): void {
  if (now >= key.expiresAt)
    throw new AppError("fleet.enrollment-key-expired", `the enrolment key ${key.id} has expired`)
  if (key.usesCount >= key.usesMax)
    throw new AppError("fleet.enrollment-key-used-up", `the enrolment key ${key.id} was used ${key.usesMax} times`, {
      details: { usesMax: key.usesMax },
    })
}

/**
 * The tags of a node that enrols: those of the key, and those the machine asks for where the key allows them. A tag
 * that the key itself gives can't be asked for with another value.
 *
 * @throws fleet.enrollment-tag-refused, request.invalid-input
 */
export function mergeEnrolledTags(key: EnrollmentTerms, asked: Tags): Tags {
  const refused = Object.entries(asked)
    .filter(([tag, value]) => (Object.hasOwn(key.tags, tag) ? key.tags[tag] !== value : !key.tagsAllowed.includes(tag)))
    .map(([tag]) => tag)
  if (refused.length > 0)
    throw new AppError(
      "fleet.enrollment-tag-refused",
      `the enrolment key ${key.id} doesn't allow: ${refused.join(", ")}`,
      {
        details: { refused },
      },
    )
  return withinLimit({ ...asked, ...key.tags })
}

/** The tags after a change; null removes one. @throws request.invalid-input */
export function changeTags(tags: Tags, changes: Readonly<Record<string, string | null>>): Tags {
  const result = new Map(Object.entries(tags))
  for (const [key, value] of Object.entries(changes)) {
    if (value === null) result.delete(key)
    else if (tagKey.safeParse(key).success) result.set(key, value)
    else throw new AppError("request.invalid-input", `${JSON.stringify(key)} can't be the key of a tag`)
  }
  return withinLimit(Object.fromEntries(result))
}

export function isSameTags(a: Tags, b: Tags): boolean {
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && a[key] === b[key])
}

function withinLimit(tags: Tags): Tags {
  const count = Object.keys(tags).length
  if (count > limits.tagsMax)
    throw new AppError("request.invalid-input", `a node has at most ${limits.tagsMax} tags, and this makes ${count}`)
  return tags
}

/** What the server knows of a node when an agent says hello with its key. */
export interface KnownMachine {
  readonly machineId: string | null
  readonly agentVersion: string | null
  readonly heldAt: number | null
}

/**
 * Whether an agent with this node's key may open a session. One key on two machines is a cloned image: neither can be
 * told from the impostor, so both are kept out until a person releases the node (X7).
 */
export type AdmissionVerdict =
  | { readonly kind: "admit"; /** True where machine or version have to be written. */ readonly write: boolean }
  | { readonly kind: "held" }
  | { readonly kind: "clone"; readonly machineIds: readonly [known: string, other: string] }

export function decideAdmission(
  node: KnownMachine,
  hello: { readonly machineId: string; readonly agentVersion: string },
): AdmissionVerdict {
  if (node.heldAt !== null) return { kind: "held" }
  if (node.machineId !== null && node.machineId !== hello.machineId)
    return { kind: "clone", machineIds: [node.machineId, hello.machineId] }
  return { kind: "admit", write: node.machineId === null || node.agentVersion !== hello.agentVersion }
}

export interface AgentClaims {
  readonly iat: number
  readonly exp: number
}

/** Limits of an agent's token; it is used once, to open a session. */
export const agentTokenLimits = { lifeSecondsMax: 60, clockLeewaySeconds: 30, liveTokensPerNodeMax: 120 } as const

/** Why the times of a token don't do, or undefined where they do. Seconds; `now` in milliseconds. */
export function findTimeFault(claims: AgentClaims, now: number): string | undefined {
  const seconds = now / 1000
  const { lifeSecondsMax, clockLeewaySeconds } = agentTokenLimits
  const life = claims.exp - claims.iat
  if (!(life > 0 && life <= lifeSecondsMax)) return `the token's life is not within ${lifeSecondsMax} seconds`
  if (claims.iat > seconds + clockLeewaySeconds)
    return `the token is from the future by ${Math.ceil(claims.iat - seconds)} seconds; set the machine's clock`
  if (claims.exp < seconds - clockLeewaySeconds)
    return `the token expired ${Math.ceil(seconds - claims.exp)} seconds ago; set the machine's clock`
  return undefined
}
