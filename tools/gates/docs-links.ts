import { posix } from "node:path"
import type { Repository } from "../repository.ts"
import type { Gate } from "./gate.ts"

interface Link {
  readonly line: number
  readonly target: string
}

/** Every relative link of the Markdown files that leads nowhere: to no file, or to no heading or anchor of one. */
export async function findBrokenLinks(repository: Repository): Promise<{ problems: string[]; linksCount: number }> {
  const pages = repository.files.filter((path) => path.endsWith(".md"))
  const folders = new Set(repository.files.flatMap(foldersOf))
  const anchors = new Map<string, ReadonlySet<string>>()
  const problems: string[] = []
  let linksCount = 0
  for (const path of pages) anchors.set(path, findAnchors(await repository.read(path)))
  for (const path of pages) {
    for (const { line, target } of findLinks(await repository.read(path))) {
      linksCount++
      const [file = "", anchor] = target.split("#", 2).map(decodeURIComponent)
      const resolved = file === "" ? path : posix.normalize(posix.join(posix.dirname(path), file)).replace(/\/$/, "")
      const exists = repository.files.includes(resolved) || folders.has(resolved)
      if (!exists) problems.push(`${path}:${line}: no file ${target}`)
      else if (anchor && anchors.has(resolved) && !anchors.get(resolved)?.has(anchor)) {
        problems.push(`${path}:${line}: no heading or anchor #${anchor} in ${resolved}`)
      }
    }
  }
  return { problems, linksCount }
}

function foldersOf(path: string): string[] {
  const parts = path.split("/")
  return parts.map((_, index) => parts.slice(0, index).join("/") || ".")
}

/** Links and images to places inside the repository, outside code. */
export function findLinks(text: string): Link[] {
  const patterns = [
    /!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)/g,
    /^\s*\[[^\]]+\]:\s*<?(\S+?)>?\s*$/g,
    /\b(?:href|src|srcset)="([^"]+)"/g,
  ]
  return withoutCode(text).flatMap((content, index) =>
    patterns
      .flatMap((pattern) => [...content.matchAll(pattern)].map(([, target = ""]) => target))
      .filter((target) => !/^(?:[a-z][a-z0-9+.-]*:|\/\/)/i.test(target))
      .map((target) => ({ line: index + 1, target })),
  )
}

/** Names that a link can point at: headings as GitHub names them, and explicit anchors. */
export function findAnchors(text: string): ReadonlySet<string> {
  const anchors = new Set<string>()
  const counts = new Map<string, number>()
  for (const [, id = ""] of text.matchAll(/<[a-z]+\s[^>]*\b(?:id|name)="([^"]+)"/g)) anchors.add(id)
  for (const line of withoutCode(text, true)) {
    const heading = /^#{1,6}\s+(.*?)\s*#*$/.exec(line)?.[1]
    if (heading === undefined) continue
    const slug = slugOf(heading)
    const count = counts.get(slug) ?? 0
    counts.set(slug, count + 1)
    anchors.add(count === 0 ? slug : `${slug}-${count}`)
  }
  return anchors
}

function slugOf(heading: string): string {
  return heading
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/<[^>]+>/g, "")
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M}_ -]/gu, "")
    .replaceAll(" ", "-")
}

/** The lines of a page with fenced code emptied, and code spans too unless they are kept. */
function withoutCode(text: string, keepSpans = false): string[] {
  let fence: string | undefined
  return text.split("\n").map((line) => {
    const mark = /^\s*(```+|~~~+)/.exec(line)?.[1]
    if (fence !== undefined) {
      if (mark?.startsWith(fence)) fence = undefined
      return ""
    }
    fence = mark
    if (mark !== undefined) return ""
    return keepSpans ? line : line.replace(/`[^`]*`/g, "")
  })
}

export const docsLinksGate: Gate = {
  name: "docs links",
  async run(repository) {
    const { problems, linksCount } = await findBrokenLinks(repository)
    return { problems, note: `${linksCount} links` }
  },
}
