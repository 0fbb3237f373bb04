/** An IP address, while an expression runs; it comes in and goes out as text. */
export class IpAddress {
  readonly family: 4 | 6
  /** 32 bits each, the first ones first: one for IPv4, four for IPv6. */
  readonly words: readonly number[]
  readonly text: string
  constructor(family: 4 | 6, words: readonly number[], text: string) {
    this.family = family
    this.words = words
    this.text = text
  }
}

/** A block of addresses. */
export class CidrBlock {
  readonly address: IpAddress
  readonly prefixLength: number
  constructor(address: IpAddress, prefixLength: number) {
    this.address = address
    this.prefixLength = prefixLength
  }
}

const byteText = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
const ipv4 = new RegExp(`^${byteText}(?:\\.${byteText}){3}$`)

/** Strict: no leading zeros, zones or IPv4 inside IPv6, which different programs read differently. */
export function findIp(text: string): IpAddress | undefined {
  if (ipv4.test(text)) {
    const word = text.split(".").reduce((sum, each) => sum * 256 + Number(each), 0)
    return new IpAddress(4, [word], text)
  }
  const groups = text.length <= 39 ? readGroups(text) : undefined
  if (groups === undefined) return undefined
  const words = [0, 2, 4, 6].map((at) => (groups[at] ?? 0) * 65_536 + (groups[at + 1] ?? 0))
  return new IpAddress(6, words, text.toLowerCase())
}

function readGroups(text: string): number[] | undefined {
  const halves = text.split("::")
  if (halves.length > 2) return undefined
  const [head = [], tail = []] = halves.map((half) => (half === "" ? [] : half.split(":")))
  const missing = 8 - head.length - tail.length
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined
  const all = [...head, ...Array.from({ length: missing }, () => "0"), ...tail]
  return all.every((each) => /^[0-9a-fA-F]{1,4}$/.test(each)) ? all.map((each) => Number.parseInt(each, 16)) : undefined
}

export function findCidr(text: string): CidrBlock | undefined {
  const [, address = "", length = ""] = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text) ?? []
  const ip = findIp(address)
  const isFitting = ip !== undefined && Number(length) <= (ip.family === 4 ? 32 : 128)
  return isFitting ? new CidrBlock(ip, Number(length)) : undefined
}

/** Whether the address is in the block; one of the other family never is. */
export function containsIp(block: CidrBlock, { family, words }: IpAddress): boolean {
  if (family !== block.address.family) return false
  let bits = block.prefixLength
  for (const [at, word] of words.entries()) {
    if (bits <= 0) return true
    const own = block.address.words[at] ?? 0
    const shift = 2 ** Math.max(0, 32 - bits)
    if (Math.floor(own / shift) !== Math.floor(word / shift)) return false
    bits -= 32
  }
  return true
}

export function containsCidr(block: CidrBlock, other: CidrBlock): boolean {
  return other.prefixLength >= block.prefixLength && containsIp(block, other.address)
}

export function isSameIp(a: IpAddress, b: IpAddress): boolean {
  return a.family === b.family && a.words.every((word, at) => word === b.words[at])
}
