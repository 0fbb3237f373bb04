import { spawnSync } from "node:child_process"
import { randomBytes } from "node:crypto"

/**
 * A network of its own with one machine on it: a namespace of Linux, joined to this machine by a pair of interfaces and
 * to nothing else. `run` is a program on that machine.
 */
export class NetworkNamespace {
  /** This machine's address on that network. */
  readonly hostAddress: string
  readonly #name: string
  readonly #interface: string

  private constructor(network: string) {
    const mark = randomBytes(3).toString("hex")
    this.#name = `signalbox-${mark}`
    this.#interface = `sbx${mark}`
    this.hostAddress = `${network}.1`
  }

  /** @param network the first three numbers of an IPv4 network of 256 addresses */
  static open(network: string): NetworkNamespace {
    const made = new NetworkNamespace(network)
    ip("netns", "add", made.#name)
    try {
      ip("link", "add", made.#interface, "type", "veth", "peer", "name", "outside", "netns", made.#name)
      ip("address", "add", `${made.hostAddress}/24`, "dev", made.#interface)
      ip("link", "set", made.#interface, "up")
      ip("-n", made.#name, "address", "add", `${network}.2/24`, "dev", "outside")
      for (const each of ["outside", "lo"]) ip("-n", made.#name, "link", "set", each, "up")
    } catch (error) {
      made.remove()
      throw error
    }
    return made
  }

  /** The words of a command that runs on the other machine. */
  command(...words: readonly string[]): readonly [string, string[]] {
    return ["ip", ["netns", "exec", this.#name, ...words]]
  }

  remove(): void {
    // The pair of interfaces goes with either end.
    spawnSync("ip", ["link", "delete", this.#interface])
    ip("netns", "delete", this.#name)
  }
}

function ip(...words: readonly string[]): void {
  const { status, stderr, error } = spawnSync("ip", words, { encoding: "utf8" })
  if (status !== 0) throw new Error(`ip ${words.join(" ")}: ${error?.message ?? stderr}`)
}

/** Why networks of their own can't be made here; undefined where they can. */
export function namespacesMissing(): string | undefined {
  if (process.platform !== "linux") return "network namespaces are Linux's"
  if (process.getuid?.() !== 0) return "network namespaces want root"
  const made = spawnSync("ip", ["netns", "add", "signalbox-probe"], { encoding: "utf8" })
  if (made.error) return "ip is missing: it is in Debian's iproute2"
  if (made.status !== 0) return `this system makes no network namespaces: ${made.stderr.trim()}`
  spawnSync("ip", ["netns", "delete", "signalbox-probe"])
  return undefined
}
