import { lookup } from "node:dns/promises"
import { isIP } from "node:net"
import { AppError } from "@signalbox/kernel/app-error"
import { addressKind } from "./address-rule.ts"
import { matchesRule, type HostRule } from "./host-rule.ts"

/** Gives every address of a name, as the system resolves it. */
export type Resolve = (host: string) => Promise<readonly string[]>

export interface AddressPolicy {
  /** What is reached although it is refused otherwise. */
  readonly allow: readonly HostRule[]
  readonly privateAllowed: boolean
}

const urlCharactersMax = 8192
const addressesMax = 32

export const systemResolve: Resolve = async (host) => {
  const found = await lookup(host, { all: true, order: "verbatim" })
  return found.map(({ address }) => address)
}

/** @throws egress.invalid-url; its message never repeats the URL, which may hold a token */
export function parseTarget(text: string): URL {
  const url = text.length > urlCharactersMax ? null : URL.parse(text)
  if (url === null || url.hostname === "") throw new AppError("egress.invalid-url", "the text is no URL with a host")
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw new AppError("egress.invalid-url", `${url.protocol} is neither http: nor https:`)
  if (url.username !== "" || url.password !== "")
    throw new AppError("egress.invalid-url", `the URL of ${url.host} holds a user or a password; send them as a header`)
  url.hash = ""
  return url
}

/** The host of a URL without brackets and final dot. The parser has turned numeric forms (octal, one number) to plain ones. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "")
}

export function portOf(url: URL): number {
  if (url.port !== "") return Number(url.port)
  return url.protocol === "https:" ? 443 : 80
}

/**
 * The addresses to which the call may connect: all that the name has, each of them allowed. One refused address
 * refuses the call, since a name that mixes them is not to be trusted.
 *
 * @throws egress.refused-address, egress.unreachable where the name has no address
 */
export async function checkedAddresses(
  url: URL,
  policy: AddressPolicy,
  resolve: Resolve,
): Promise<readonly [string, ...string[]]> {
  const host = hostOf(url)
  const addresses = isIP(host) === 0 ? await resolveAll(host, resolve) : [host]
  for (const address of addresses) refuseAddress(policy, { host, address, port: portOf(url) })
  const [first, ...others] = addresses
  if (first === undefined) throw new AppError("egress.unreachable", `the name ${host} has no address`)
  return [first, ...others]
}

async function resolveAll(host: string, resolve: Resolve): Promise<readonly string[]> {
  let addresses: readonly string[]
  try {
    addresses = await resolve(host)
  } catch (cause) {
    throw new AppError("egress.unreachable", `the name ${host} can't be resolved`, { cause })
  }
  return addresses.slice(0, addressesMax)
}

function refuseAddress(policy: AddressPolicy, destination: { host: string; address: string; port: number }): void {
  const kind = addressKind(destination.address)
  if (kind === "public" || (kind === "private" && policy.privateAllowed)) return
  if (policy.allow.some((rule) => matchesRule(rule, destination))) return
  const { host, address } = destination
  const what =
    kind === "private"
      ? "a private address, which the setting egress-private denies"
      : "an address of this machine, its link or its cloud, which only the setting egress-allow lets through"
  throw new AppError(
    "egress.refused-address",
    host === address ? `${host} is ${what}` : `${host} has the address ${address}, ${what}`,
    { details: { host, address } },
  )
}
