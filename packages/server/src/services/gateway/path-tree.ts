/** Finds which template of a document a path is: literal segments before patterns, patterns before whole fields. Pure. */
export interface PathTree<T> {
  /** What is known at a path, by method, and the values of its fields as they were sent. */
  find(path: string): { readonly methods: ReadonlyMap<string, T>; readonly values: readonly string[] } | undefined
}

interface Node<T> {
  readonly literals: Map<string, Node<T>>
  readonly patterns: Array<{ readonly text: string; readonly pattern: RegExp; readonly node: Node<T> }>
  field?: Node<T>
  readonly methods: Map<string, T>
}

export interface TreeEntry<T> {
  readonly method: string
  readonly path: string
  readonly value: T
}

const segmentsMax = 64

export function makePathTree<T>(entries: Iterable<TreeEntry<T>>): PathTree<T> {
  const root = newNode<T>()
  const plain = new Map<string, { methods: Map<string, T>; values: readonly string[] }>()
  for (const { method, path, value } of entries) {
    const node = add(root, path)
    node.methods.set(method, value)
    if (!path.includes("{")) plain.set(path, { methods: node.methods, values: [] })
  }
  return {
    find(path) {
      const known = plain.get(path)
      if (known) return known
      const segments = path.split("/")
      if (segments.length > segmentsMax) return undefined
      const values: string[] = []
      const node = follow(root, { segments, at: 1, values })
      return node && { methods: node.methods, values }
    },
  }
}

/** The names of a template's fields, in their order. @example fieldsOf("/a/{b}/{c}.json") // ["b", "c"] */
export function fieldsOf(template: string): string[] {
  return [...template.matchAll(/\{([^{}]*)\}/g)].map(([, name]) => name ?? "")
}

function newNode<T>(): Node<T> {
  return { literals: new Map(), patterns: [], methods: new Map() }
}

function add<T>(root: Node<T>, path: string): Node<T> {
  let node = root
  for (const segment of path.split("/").slice(1)) node = childOf(node, segment)
  return node
}

function childOf<T>(node: Node<T>, segment: string): Node<T> {
  if (!segment.includes("{")) {
    const next = node.literals.get(segment) ?? newNode<T>()
    node.literals.set(segment, next)
    return next
  }
  if (/^\{[^{}]*\}$/.test(segment)) return (node.field ??= newNode<T>())
  const text = segment.replaceAll(/\{[^{}]*\}/g, "{}")
  const known = node.patterns.find((each) => each.text === text)
  if (known) return known.node
  const pieces = text.split("{}").map((piece) => piece.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"))
  const added = { text, pattern: new RegExp(`^${pieces.join("([^/]+?)")}$`), node: newNode<T>() }
  node.patterns.push(added)
  return added.node
}

interface Position {
  readonly segments: readonly string[]
  readonly at: number
  /** Grown on the way down, and cut back where the way was wrong. */
  readonly values: string[]
}

/** Each node of the tree is looked at once at most, so a path costs no more than the document has places. */
function follow<T>(node: Node<T>, position: Position): Node<T> | undefined {
  const { segments, at, values } = position
  if (at === segments.length) return node.methods.size > 0 ? node : undefined
  const segment = segments[at] ?? ""
  const literal = node.literals.get(segment)
  const found = literal && follow(literal, { ...position, at: at + 1 })
  if (found) return found
  if (segment === "") return undefined
  for (const { pattern, node: next } of node.patterns) {
    const match = pattern.exec(segment)
    const way = match && tryWay(next, position, match.slice(1))
    if (way) return way
  }
  return node.field && tryWay(node.field, { segments, at, values }, [segment])
}

function tryWay<T>(node: Node<T>, position: Position, found: readonly string[]): Node<T> | undefined {
  const { values, at } = position
  const before = values.length
  values.push(...found)
  const way = follow(node, { ...position, at: at + 1 })
  if (!way) values.length = before
  return way
}
