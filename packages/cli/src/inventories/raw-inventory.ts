import { expandHostPattern, inventoryLimits, PatternError } from "./host-pattern.ts"

export type Variables = ReadonlyMap<string, string>

export interface RawGroup {
  readonly hosts: Map<string, Map<string, string>>
  readonly children: Set<string>
  readonly variables: Map<string, string>
}

export interface InventoryIssue {
  readonly path: string
  readonly message: string
  readonly line?: number
}

/**
 * Collects what a parser finds: groups, hosts, variables, and what is wrong, each with its place. A host of several
 * groups is one host; a later value of a variable replaces an earlier one.
 */
export class RawInventory {
  readonly groups = new Map<string, RawGroup>()
  readonly issues: InventoryIssue[] = []
  #hosts = new Set<string>()

  group(name: string): RawGroup {
    const found = this.groups.get(name)
    if (found) return found
    const made: RawGroup = { hosts: new Map(), children: new Set(), variables: new Map() }
    this.groups.set(name, made)
    if (this.groups.size === inventoryLimits.groupsMax + 1) this.complain(`over ${inventoryLimits.groupsMax} groups`)
    return made
  }

  /** Hosts of a pattern, which may end in a port. */
  addHosts(groupName: string, pattern: string, given: { readonly variables: Variables; readonly line?: number }): void {
    const { line } = given
    try {
      const { host, port } = splitPort(pattern)
      for (const name of host.includes("::") ? [host] : expandHostPattern(host)) {
        this.#addHost(
          groupName,
          name,
          port === undefined ? given.variables : new Map([["ansible_port", port], ...given.variables]),
        )
      }
    } catch (error) {
      if (!(error instanceof PatternError)) throw error
      this.complain(error.message, line)
    }
  }

  complain(message: string, line?: number, path = ""): void {
    this.issues.push({ path, message, ...(line === undefined ? {} : { line }) })
  }

  #addHost(groupName: string, name: string, variables: Variables): void {
    this.#hosts.add(name)
    if (this.#hosts.size === inventoryLimits.hostsMax + 1) this.complain(`over ${inventoryLimits.hostsMax} hosts`)
    if (this.#hosts.size > inventoryLimits.hostsMax) return
    const { hosts } = this.group(groupName)
    const known = hosts.get(name) ?? new Map<string, string>()
    for (const [key, value] of variables) known.set(key, value)
    hosts.set(name, known)
  }
}

/** `web:2222`, `web[1:3]:2222`, `[2001:db8::1]:22`, `2001:db8::1`. */
function splitPort(pattern: string): { host: string; port?: string } {
  const six = /^\[([0-9a-fA-F:.]*::?[0-9a-fA-F:.]*)\](?::(\d{1,5}))?$/.exec(pattern)
  if (six?.[1] !== undefined && six[1].split(":").length > 3)
    return { host: six[1], ...(six[2] === undefined ? {} : { port: six[2] }) }
  if (/^[0-9a-fA-F:]+$/.test(pattern) && pattern.split(":").length > 2) return { host: pattern }
  const [, host = pattern, port] = /^(.*[^:]):(\d{1,5})$/.exec(pattern) ?? []
  // The colon of a range stands in brackets, so it is none of a port.
  if (port === undefined || host.lastIndexOf("[") > host.lastIndexOf("]")) return { host: pattern }
  return { host, port }
}
