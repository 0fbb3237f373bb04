import { createHash } from "node:crypto"
import { secretShownOnce, type AnyOperation } from "@signalbox/contracts/operation"
import { canonicalJson } from "@signalbox/kernel/canonical-json"

/** What records keep of a call: digests of its input and its reply without secrets. */

interface SecretMarker {
  /** Stands for a secret input: the same for the same text, and nothing to guess it by. */
  readonly markSecretInput: (text: string) => string
}

/** SHA-256, in hexadecimal, of an operation's name and its input. */
export function digestOf(marker: SecretMarker, operation: AnyOperation, input: unknown): string {
  return createHash("sha256")
    .update(operation.name)
    .update("\0")
    .update(canonicalJson(withSecretsMarked(marker, operation, input ?? {})))
    .digest("hex")
}

/** A plain digest of a short secret could be found again by trying. */
export function withSecretsMarked(
  marker: SecretMarker,
  { secretInput, replaceSecrets }: AnyOperation,
  input: unknown,
): unknown {
  if (typeof input !== "object" || input === null) return input
  if (replaceSecrets) return replaceSecrets(input, (value) => marker.markSecretInput(canonicalJson(value)))
  if (!secretInput) return input
  const marked = Object.entries(input).map(([member, value]) => [
    member,
    value !== undefined && secretInput.includes(member)
      ? marker.markSecretInput(canonicalJson(value))
      : (value as unknown),
  ])
  return Object.fromEntries(marked)
}

export function withoutSecrets(operation: AnyOperation, value: unknown): unknown {
  if (!operation.secretOutput || typeof value !== "object" || value === null) return value
  const hidden = operation.secretOutput.map((member) => [member, secretShownOnce])
  return { ...value, ...Object.fromEntries(hidden) }
}
