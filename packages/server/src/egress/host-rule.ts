import { isIP } from "node:net"
import { isAddressIn, parseAddressRange, type AddressRange } from "./address-rule.ts"

/**
 * One entry of the settings `egress-allow` and `egress-no-proxy`: a range of addresses, or a host (with the hosts
 * below it, where it begins with a dot), with a port where only that port is meant.
 */
export type HostRule =
  | { readonly kind: "range"; readonly range: AddressRange; readonly port?: number }
  | { readonly kind: "host"; readonly host: string; readonly below: boolean; readonly port?: number }
  | { readonly kind: "any" }

/** What a call is about to reach: its host as the URL has it, an address of that host, and the port. */
export interface Destination {
  readonly host: string
  readonly address?: string
  readonly port: number
}

const hostPattern = /^(?:\*?\.)?[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9])?$/

/** `10.0.0.0/8`, `[fd00::1]:8443`, `metrics.example:9090`, `.example.org` or `*`; undefined where the text is none. */
export function parseHostRule(text: string): HostRule | undefined {
  const trimmed = text.trim().toLowerCase()
  if (trimmed === "*") return { kind: "any" }
  const whole = parseAddressRange(trimmed)
  if (whole) return { kind: "range", range: whole }
  const match = /^(\[[^\]]*\]|[^:]*)(?::(\d{1,5}))?$/.exec(trimmed)
  const [, name = "", portText] = match ?? []
  const port = portText === undefined ? undefined : Number(portText)
  if (!match || port === 0 || (port !== undefined && port > 65_535)) return undefined
  const withPort = port === undefined ? {} : { port }
  const range = parseAddressRange(name.replace(/^\[(.*)\]$/, "$1"))
  if (range) return { kind: "range", range, ...withPort }
  if (!hostPattern.test(name)) return undefined
  const host = name.replace(/^\*?\./, "")
  return { kind: "host", host, below: host !== name, ...withPort }
}

/** True where the rule names this destination. A range speaks of the address, a host of the name in the URL. */
export function matchesRule(rule: HostRule, destination: Destination): boolean {
  if (rule.kind === "any") return true
  if (rule.port !== undefined && rule.port !== destination.port) return false
  if (rule.kind === "host") {
    return destination.host === rule.host || (rule.below && destination.host.endsWith(`.${rule.host}`))
  }
  const address = destination.address ?? (isIP(destination.host) === 0 ? undefined : destination.host)
  return address !== undefined && isAddressIn(address, rule.range)
}
