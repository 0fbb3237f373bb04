import { RawInventory } from "./raw-inventory.ts"

type Section = { readonly group: string; readonly kind: "hosts" | "children" | "vars" }

const groupName = /^[^\s[\]:#;]{1,128}$/

/**
 * An Ansible inventory in INI form: `[group]`, `[group:children]`, `[group:vars]`; hosts before any section are of
 * `ungrouped`. Pure; what can't be read is among the issues, each with its line.
 */
export function parseIniInventory(text: string): RawInventory {
  const inventory = new RawInventory()
  let section: Section | undefined = { group: "ungrouped", kind: "hosts" }
  for (const [index, raw] of text
    .replace(/^\uFEFF/, "")
    .split(/\r?\n/)
    .entries()) {
    const line = index + 1
    const content = raw.trim()
    if (content === "" || content.startsWith("#") || content.startsWith(";")) continue
    if (isSection(content)) {
      section = readSection(content)
      if (section) inventory.group(section.group)
      else inventory.complain(`"${content}" is no section; write [name], [name:children] or [name:vars]`, line)
    } else if (section) readEntry({ inventory, section, content, line })
  }
  return inventory
}

/** A host line may begin with a bracket too: `[2001:db8::1]:22`. */
function isSection(content: string): boolean {
  return /^\[[^\]]*\]\s*(?:[#;].*)?$/.test(content) && !/^\[[0-9a-fA-F]*:[0-9a-fA-F:.]*\]/.test(content)
}

function readSection(content: string): Section | undefined {
  const [group = "", kind = "hosts", ...more] = content.slice(1, content.indexOf("]")).trim().split(":")
  if (!groupName.test(group) || more.length > 0) return undefined
  return kind === "hosts" || kind === "children" || kind === "vars" ? { group, kind } : undefined
}

function readEntry(entry: { inventory: RawInventory; section: Section; content: string; line: number }): void {
  const { inventory, section, content, line } = entry
  const group = inventory.group(section.group)
  if (section.kind === "vars") {
    const [, key, value = ""] = /^([^\s=]+)\s*=\s*(.*)$/.exec(content) ?? []
    if (key === undefined) return inventory.complain(`"${content}" is no variable; write name=value`, line)
    group.variables.set(key, unquote(value))
    return
  }
  const words = splitWords(content)
  if (!words) return inventory.complain("a quotation mark is never closed", line)
  const [first = "", ...rest] = words
  if (section.kind === "children") {
    if (rest.length > 0 || !groupName.test(first)) return inventory.complain(`"${content}" is no name of a group`, line)
    group.children.add(first)
    return
  }
  const variables = new Map<string, string>()
  for (const word of rest) {
    const equals = word.indexOf("=")
    if (equals < 1) return inventory.complain(`"${word}" is no variable; write name=value`, line)
    variables.set(word.slice(0, equals), word.slice(equals + 1))
  }
  inventory.addHosts(section.group, first, { variables, line })
}

function unquote(text: string): string {
  return /^(["'])(.*)\1$/.exec(text)?.[2] ?? text
}

/** Words as a shell splits them, up to a comment; undefined where a quotation mark is left open. */
export function splitWords(line: string): string[] | undefined {
  const words: string[] = []
  let word: string | undefined
  let quote = ""
  for (let at = 0; at < line.length; at++) {
    const sign = line.charAt(at)
    if (quote === "" && /\s/.test(sign)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else if (quote === "" && sign === "#" && word === undefined) break
    else if (quote === "" && (sign === '"' || sign === "'")) [quote, word] = [sign, word ?? ""]
    else if (sign === quote) quote = ""
    else if (sign === "\\" && quote !== "'" && at + 1 < line.length) word = (word ?? "") + line.charAt(++at)
    else word = (word ?? "") + sign
  }
  if (quote !== "") return undefined
  if (word !== undefined) words.push(word)
  return words
}
