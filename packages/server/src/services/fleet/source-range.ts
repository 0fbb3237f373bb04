import { BlockList, isIP } from "node:net"

/** The most that a range's text can be; longer texts are none. */
const prefixMax = { 4: 32, 6: 128 } as const

interface Range {
  readonly address: string
  readonly prefix: number
  readonly family: "ipv4" | "ipv6"
}

/** A range as `10.0.0.0/8`, `2001:db8::/32` or one address; undefined where the text is none. */
export function parseSourceRange(text: string): Range | undefined {
  const [address = "", prefixText, ...rest] = text.split("/")
  const version = isIP(address)
  if ((version !== 4 && version !== 6) || rest.length > 0 || address.includes("%")) return undefined
  if (prefixText !== undefined && !/^(?:0|[1-9]\d{0,2})$/.test(prefixText)) return undefined
  const prefix = prefixText === undefined ? prefixMax[version] : Number(prefixText)
  if (prefix > prefixMax[version]) return undefined
  return { address, prefix, family: version === 4 ? "ipv4" : "ipv6" }
}

/** True where the address lies in one of the ranges. IPv4 addresses may come as IPv6 (`::ffff:10.0.0.1`). */
export function isInRanges(address: string, ranges: readonly string[]): boolean {
  const plain = address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, "").replace(/%.*$/, "")
  const version = isIP(plain)
  if (version === 0) return false
  const list = new BlockList()
  for (const text of ranges) {
    const range = parseSourceRange(text)
    if (range) list.addSubnet(range.address, range.prefix, range.family)
  }
  return list.check(plain, version === 4 ? "ipv4" : "ipv6")
}
