import { stringify } from "yaml"

interface GroupLike {
  readonly name: string
  readonly description?: string | undefined
  readonly query?: string | undefined
  readonly nodes?: readonly string[] | undefined
}

/** A group as a document, always written the same way, so that two of them can be compared. */
export function groupText({ name, description, query, nodes }: GroupLike): string {
  return stringify({
    kind: "NodeGroup",
    name,
    ...(description === undefined ? {} : { description }),
    ...(query === undefined ? {} : { query }),
    ...(nodes === undefined ? {} : { nodes: [...new Set(nodes)].toSorted() }),
  })
}
