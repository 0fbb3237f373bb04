import { AppError } from "@signalbox/kernel/app-error"
import type { Clock } from "@signalbox/kernel/clock"
import type { Caller } from "./handler.ts"
import type { Authenticator, Credential } from "./ports.ts"
import type { OrLater } from "./rule-ports.ts"

interface Known {
  readonly clock: Clock
  readonly authenticators: readonly Authenticator[]
}

/**
 * The stage that says who calls: at once where whoever knows the token has it in memory.
 *
 * @throws identity.missing-credentials, identity.invalid-credentials
 */
export function authenticate(
  { clock, authenticators }: Known,
  token: string | undefined,
  sourceAddress: string | undefined,
): OrLater<Caller> {
  if (!token) throw new AppError("identity.missing-credentials", "the call carries no bearer token")
  const now = clock.now()
  const credential: Credential = sourceAddress ? { token, now, sourceAddress } : { token, now }
  for (let asked = 0; asked < authenticators.length; asked++) {
    const caller = authenticators[asked]?.authenticate(credential)
    if (caller instanceof Promise) return authenticateLater(credential, caller, authenticators.slice(asked + 1))
    if (caller) return caller
  }
  throw unknownToken()
}

async function authenticateLater(
  credential: Credential,
  first: Promise<Caller | undefined>,
  others: readonly Authenticator[],
): Promise<Caller> {
  const known = await first
  if (known) return known
  for (const authenticator of others) {
    const caller = await authenticator.authenticate(credential)
    if (caller) return caller
  }
  throw unknownToken()
}

const unknownToken = (): AppError => new AppError("identity.invalid-credentials", "the bearer token is not known here")
