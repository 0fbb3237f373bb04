import { AppError } from "@signalbox/kernel/app-error"
import { parseIniInventory } from "./parse-ini-inventory.ts"
import { parseYamlInventory } from "./parse-yaml-inventory.ts"
import type { RawInventory, Variables } from "./raw-inventory.ts"

export interface InventoryHost {
  readonly name: string
  /** All groups that it is in, by itself or by a group's children; without `all` and `ungrouped`; sorted. */
  readonly groups: readonly string[]
  /** Its own over its groups', a child's over its parent's. */
  readonly variables: Variables
}

export interface AnsibleInventory {
  /** In the order of their names. */
  readonly hosts: readonly InventoryHost[]
  readonly groups: readonly string[]
}

const issuesMax = 100

/**
 * Reads an Ansible inventory. YAML where the file's name says so, or else where the text begins as YAML does. Files
 * beside it (group_vars, host_vars) are not read.
 *
 * @throws cli.invalid-inventory with a place for each issue
 */
export function parseInventory(text: string, file: string): AnsibleInventory {
  const isYaml = /\.(?:ya?ml|json)$/i.test(file) || /^\s*(?:#.*\n\s*)*(?:---|\{|[\w-]+:\s*(?:\n|$))/.test(text)
  const raw = isYaml ? parseYamlInventory(text) : parseIniInventory(text)
  const depths = groupDepths(raw)
  if (raw.issues.length > 0) {
    throw new AppError("cli.invalid-inventory", `${file} can't be read as an inventory`, {
      issues: raw.issues.slice(0, issuesMax),
    })
  }
  const hosts = [...hostGroups(raw)].map(([name, direct]) => joinHost(raw, { name, direct, depths }))
  if (hosts.length === 0) throw new AppError("cli.invalid-inventory", `${file} names no host`)
  return { hosts: hosts.toSorted(byName), groups: [...depths.keys()].filter(isNamedGroup).toSorted() }
}

const byName = (a: { readonly name: string }, b: { readonly name: string }): number => (a.name < b.name ? -1 : 1)
const isNamedGroup = (name: string): boolean => name !== "all" && name !== "ungrouped"

function hostGroups(raw: RawInventory): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>()
  for (const [group, { hosts }] of raw.groups) {
    for (const host of hosts.keys()) found.set(host, (found.get(host) ?? new Set()).add(group))
  }
  return found
}

/** How far below `all` each group is; complains of circles and of children that are no groups. */
function groupDepths(raw: RawInventory): Map<string, number> {
  const depths = new Map<string, number>([["all", 0]])
  const children = new Set([...raw.groups.values()].flatMap((group) => [...group.children]))
  const visit = (name: string, depth: number, above: readonly string[]): void => {
    if (above.includes(name)) return raw.complain(`the group "${name}" is a child of itself`)
    const group = raw.groups.get(name)
    if (!group) return raw.complain(`the group "${name}" is a child of "${above.at(-1)}", and is defined nowhere`)
    if ((depths.get(name) ?? -1) >= depth && depth > 0) return
    depths.set(name, depth)
    for (const child of group.children) visit(child, depth + 1, [...above, name])
  }
  if (raw.groups.has("all")) visit("all", 0, [])
  for (const name of raw.groups.keys()) if (name !== "all" && !children.has(name)) visit(name, 1, [])
  for (const name of raw.groups.keys())
    if (!depths.has(name)) raw.complain(`the group "${name}" is in a circle of groups`)
  return depths
}

function joinHost(
  raw: RawInventory,
  {
    name,
    direct,
    depths,
  }: { readonly name: string; readonly direct: ReadonlySet<string>; readonly depths: ReadonlyMap<string, number> },
): InventoryHost {
  const groups = new Set<string>(["all"])
  const pending = [...direct]
  for (let group = pending.pop(); group !== undefined; group = pending.pop()) {
    if (groups.has(group)) continue
    groups.add(group)
    for (const [parent, { children }] of raw.groups) if (children.has(group)) pending.push(parent)
  }
  const depthOf = (group: string): number => depths.get(group) ?? 0
  const ordered = [...groups].toSorted((a, b) => depthOf(a) - depthOf(b) || (a < b ? -1 : 1))
  const variables = new Map<string, string>()
  for (const group of ordered)
    for (const [key, value] of raw.groups.get(group)?.variables ?? []) variables.set(key, value)
  for (const group of ordered)
    for (const [key, value] of raw.groups.get(group)?.hosts.get(name) ?? []) variables.set(key, value)
  return { name, groups: [...groups].filter(isNamedGroup).toSorted(), variables }
}
