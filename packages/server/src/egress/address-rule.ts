import { BlockList, isIP, SocketAddress } from "node:net"

/**
 * What an address is to an outgoing call. `refused` are this machine, its link and the addresses at which clouds hand
 * out credentials: nothing reaches them unless the settings name them. `private` are an organization's own networks.
 */
export type AddressKind = "public" | "private" | "refused"

const refusedRanges = [
  "0.0.0.0/8", // unspecified, "this network"
  "127.0.0.0/8", // loopback
  "169.254.0.0/16", // link-local, metadata services
  "100.100.100.200/32", // metadata of Alibaba Cloud
  "168.63.129.16/32", // the platform's address in Azure
  "192.0.0.0/24", // protocol assignments, metadata of Oracle Cloud
  "224.0.0.0/4", // multicast
  "240.0.0.0/4", // reserved, broadcast
  "::/128",
  "::1/128",
  "fe80::/10", // link-local
  "ff00::/8", // multicast
  "fd00:ec2::254/128", // metadata of AWS
  "fd20:ce::254/128", // metadata of Google Cloud
  "2001::/32", // Teredo hides the address it leads to
]

const privateRanges = [
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "100.64.0.0/10",
  "198.18.0.0/15",
  "fc00::/7",
  "fec0::/10",
]

/** IPv6 ranges that carry an IPv4 address, and the byte at which it begins: such an address is what it carries. */
const carriers: ReadonlyArray<{ readonly range: string; readonly offset: number }> = [
  { range: "::ffff:0:0/96", offset: 12 },
  { range: "::ffff:0:0:0/96", offset: 12 },
  { range: "64:ff9b::/96", offset: 12 },
  { range: "64:ff9b:1::/48", offset: 12 },
  { range: "2002::/16", offset: 2 },
  { range: "::/96", offset: 12 },
]

const refusedList = listOf(refusedRanges)
const privateList = listOf(privateRanges)
const carrierLists = carriers.map(({ range, offset }) => ({ list: listOf([range]), offset }))

export interface AddressRange {
  readonly address: string
  readonly prefix: number
}

/** `10.0.0.0/8`, `fd00::/8` or one address; undefined where the text is none. */
export function parseAddressRange(text: string): AddressRange | undefined {
  const [address = "", prefixText, ...rest] = text.split("/")
  const version = isIP(address)
  if (version === 0 || rest.length > 0 || address.includes("%")) return undefined
  const prefixMax = version === 4 ? 32 : 128
  if (prefixText !== undefined && !/^(?:0|[1-9]\d{0,2})$/.test(prefixText)) return undefined
  const prefix = prefixText === undefined ? prefixMax : Number(prefixText)
  return prefix > prefixMax ? undefined : { address, prefix }
}

export function isAddressIn(address: string, range: AddressRange): boolean {
  const list = new BlockList()
  addRange(list, range)
  return holds(list, plainAddress(address))
}

/** @param address an IPv4 or IPv6 address as text */
export function addressKind(address: string): AddressKind {
  const plain = plainAddress(address)
  if (holds(refusedList, plain)) return "refused"
  return holds(privateList, plain) ? "private" : "public"
}

/** The address without its zone; the IPv4 address where an IPv6 one only carries it. */
export function plainAddress(text: string): string {
  const address = text.replace(/%.*$/, "")
  if (isIP(address) !== 6 || address === "::" || holds(refusedList, address)) return address
  const carrier = carrierLists.find(({ list }) => holds(list, address))
  if (!carrier) return address
  return [...bytesOf(address).subarray(carrier.offset, carrier.offset + 4)].join(".")
}

/** The 16 bytes of an IPv6 address. */
function bytesOf(address: string): Uint8Array {
  // The parser writes every form in the same shortest way, the last four bytes perhaps in dots.
  const shortest = new SocketAddress({ address, family: "ipv6" }).address
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(shortest)
  const hexadecimal = dotted ? `${dotted[1]}${pair(dotted[2], dotted[3])}:${pair(dotted[4], dotted[5])}` : shortest
  const [head = "", tail] = hexadecimal.split("::")
  const left = head === "" ? [] : head.split(":")
  const right = tail === undefined || tail === "" ? [] : tail.split(":")
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill("0"), ...right]
  return Uint8Array.from(groups.flatMap((group) => [parseInt(group, 16) >> 8, parseInt(group, 16) & 255]))
}

function pair(high: string | undefined, low: string | undefined): string {
  return (Number(high) * 256 + Number(low)).toString(16)
}

function listOf(ranges: readonly string[]): BlockList {
  const list = new BlockList()
  for (const text of ranges) {
    const range = parseAddressRange(text)
    if (range) addRange(list, range)
  }
  return list
}

function addRange(list: BlockList, { address, prefix }: AddressRange): void {
  list.addSubnet(address, prefix, isIP(address) === 4 ? "ipv4" : "ipv6")
}

function holds(list: BlockList, address: string): boolean {
  return list.check(address, isIP(address) === 4 ? "ipv4" : "ipv6")
}
