/** Secrets that a definition names are looked at when it is made: not hours later, when the first message fails. */
import { isAppError, type Issue } from "@signalbox/kernel/app-error"
import type { SecretReader } from "./router/ports.ts"

export interface NamedSecret {
  /** The field that names it. */
  readonly path: string
  readonly name: string
  /** Why a value can't be what it is named for, in words that tell nothing of it; undefined where it can. */
  readonly faultOf: (value: string) => string | undefined
}

/** What is wrong with them: not there, not readable, or of no use here. Says nothing of their values. */
export async function findSecretFaults(
  secrets: Pick<SecretReader, "read" | "versions">,
  account: string,
  named: readonly NamedSecret[],
): Promise<Issue[]> {
  if (named.length === 0) return []
  const known = await secrets.versions(
    account,
    named.map(({ name }) => name),
  )
  const issues: Issue[] = []
  for (const { path, name, faultOf } of named) {
    const message =
      known[name] === undefined
        ? `there is no secret "${name}"; store it with \`signalbox secrets put\``
        : await readFault(secrets, account, { name, faultOf })
    if (message !== undefined) issues.push({ path, message })
  }
  return issues
}

async function readFault(
  secrets: Pick<SecretReader, "read">,
  account: string,
  { name, faultOf }: Pick<NamedSecret, "name" | "faultOf">,
): Promise<string | undefined> {
  try {
    const fault = faultOf((await secrets.read(account, [name]))[name]?.value.trim() ?? "")
    return fault === undefined ? undefined : `the secret "${name}" ${fault}`
  } catch (error) {
    if (!isAppError(error)) throw error
    return `the secret "${name}" can't be read: ${error.message}`
  }
}

/** Of an address that is called. */
export function httpUrlFault(value: string): string | undefined {
  const url = URL.canParse(value) ? new URL(value) : undefined
  return url?.protocol === "https:" || url?.protocol === "http:" ? undefined : "is no URL that begins with https://"
}
