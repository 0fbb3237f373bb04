import { LineCounter, parseDocument } from "yaml"
import { RawInventory } from "./raw-inventory.ts"

const depthMax = 32

/**
 * An Ansible inventory in YAML form: groups with `hosts`, `vars` and `children`. Pure; what can't be read is among the
 * issues. Values that are no scalars (lists, maps) are left out: none of them says how to reach a host.
 */
export function parseYamlInventory(text: string): RawInventory {
  const inventory = new RawInventory()
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, stringKeys: true })
  for (const error of document.errors) inventory.complain(error.message, lines.linePos(error.pos[0]).line)
  if (document.errors.length > 0) return inventory
  const top: unknown = document.toJS({ maxAliasCount: 100 })
  if (!isRecord(top)) inventory.complain("an inventory is a map from groups to their hosts")
  else if ("plugin" in top)
    inventory.complain("this asks a plugin for its hosts; export them with `ansible-inventory --list --yaml`")
  else for (const [name, group] of Object.entries(top)) readGroup(inventory, { name, group, path: name, depth: 0 })
  return inventory
}

interface Reading {
  readonly name: string
  readonly group: unknown
  readonly path: string
  readonly depth: number
}

function readGroup(inventory: RawInventory, { name, group, path, depth }: Reading): void {
  const raw = inventory.group(name)
  const complain = (message: string, at = path) => inventory.complain(message, undefined, at)
  if (group === null || group === undefined) return
  if (!isRecord(group)) return complain("a group is a map with hosts, vars and children")
  if (depth > depthMax) return complain(`groups are nested over ${depthMax} deep`)
  for (const [key, value] of Object.entries(group)) {
    const at = `${path}.${key}`
    if (key !== "hosts" && key !== "vars" && key !== "children")
      complain(`"${key}" is none of hosts, vars and children`, at)
    else if (value === null || value === undefined) continue
    else if (!isRecord(value)) complain("this is a map, with a colon after each name", at)
    else if (key === "hosts")
      for (const [host, given] of Object.entries(value)) addHosts(inventory, name, { host, given, at })
    else if (key === "vars") for (const [variable, given] of scalars(value)) raw.variables.set(variable, given)
    else {
      for (const [child, inner] of Object.entries(value)) {
        raw.children.add(child)
        readGroup(inventory, { name: child, group: inner, path: `${at}.${child}`, depth: depth + 1 })
      }
    }
  }
}

function addHosts(
  inventory: RawInventory,
  group: string,
  { host, given, at }: { readonly host: string; readonly given: unknown; readonly at: string },
): void {
  if (given !== null && given !== undefined && !isRecord(given))
    return inventory.complain("a host has a map of variables, or nothing", undefined, `${at}.${host}`)
  inventory.addHosts(group, host, { variables: new Map(scalars(given ?? {})) })
}

function scalars(record: object): Array<[string, string]> {
  return Object.entries(record).flatMap(([key, value]): Array<[string, string]> => {
    const isScalar = typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    return isScalar ? [[key, String(value)]] : []
  })
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}
