/**
 * Texts by their characters, in flat arrays: the children of a node stand side by side, in the order of their
 * characters. Immutable. Node 0 is the root.
 */
export class TextTrie<T> {
  readonly #characters: Uint16Array
  /**
   * Two numbers a node: where its children begin (those of the next node begin where they end), doubled, and one more where
   * there is a value; and of the children's characters the last five bits, a bit for each. Most of what is asked for isn't
   * there, and is known not to be from these two alone.
   */
  readonly #nodes: Int32Array
  readonly #values: ReadonlyArray<T | undefined>

  /** @param entries each text once */
  constructor(entries: ReadonlyMap<string, T>) {
    const texts = [...entries.keys()].toSorted((a, b) => (a < b ? -1 : 1))
    const values: Array<T | undefined> = []
    const characters = [0]
    const children: number[] = []
    /** The texts below each node, in the order of the nodes. */
    const spans = [{ from: 0, to: texts.length, depth: 0 }]
    for (const { depth, from: begin, to } of spans) {
      const own = texts[begin]
      const isEnd = own !== undefined && begin < to && own.length === depth
      values.push(isEnd ? entries.get(own) : undefined)
      children.push(spans.length)
      let from = isEnd ? begin + 1 : begin
      while (from < to) {
        const character = texts[from]?.charCodeAt(depth) ?? 0
        let next = from + 1
        while (next < to && texts[next]?.charCodeAt(depth) === character) next++
        spans.push({ from, to: next, depth: depth + 1 })
        characters.push(character)
        from = next
      }
    }
    children.push(spans.length)
    this.#characters = Uint16Array.from(characters)
    this.#nodes = new Int32Array(2 * children.length)
    this.#values = values
    for (const [node, first] of children.entries()) {
      let bits = 0
      for (let child = first; child < (children[node + 1] ?? 0); child++) bits |= 1 << ((characters[child] ?? 0) & 31)
      this.#nodes.set([2 * first + Number(values[node] !== undefined), bits], 2 * node)
    }
  }

  get size(): number {
    return this.#values.length
  }

  valueAt(node: number): T | undefined {
    return ((this.#nodes[2 * node] ?? 0) & 1) === 0 ? undefined : this.#values[node]
  }

  characterOf(node: number): number {
    return this.#characters[node] ?? 0
  }

  firstChildOf(node: number): number {
    return (this.#nodes[2 * node] ?? 0) >> 1
  }

  /** The child of this node by this character, or -1. */
  childOf(node: number, character: number): number {
    const nodes = this.#nodes
    if ((((nodes[2 * node + 1] ?? 0) >>> (character & 31)) & 1) === 0) return -1
    const characters = this.#characters
    let low = (nodes[2 * node] ?? 0) >> 1
    let high = ((nodes[2 * node + 2] ?? 0) >> 1) - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const found = characters[middle] ?? 0
      if (found === character) return middle
      if (found < character) low = middle + 1
      else high = middle - 1
    }
    return -1
  }
}

/** Finds all of many texts inside another, in one pass over it (Aho and Corasick). Immutable. */
export class TextFinder<T> {
  readonly #trie: TextTrie<T>
  /** The node of the longest proper suffix that is in the trie. */
  readonly #fallback: Int32Array
  /** The nearest node on the way of fallbacks that has a value, or 0. */
  readonly #next: Int32Array

  constructor(entries: ReadonlyMap<string, T>) {
    const trie = new TextTrie(entries)
    this.#trie = trie
    this.#fallback = new Int32Array(trie.size)
    this.#next = new Int32Array(trie.size)
    for (let node = 0; node < trie.size; node++) {
      for (let child = trie.firstChildOf(node); child < trie.firstChildOf(node + 1); child++) {
        const back = node === 0 ? 0 : this.advance(this.#fallback[node] ?? 0, trie.characterOf(child))
        this.#fallback[child] = back
        this.#next[child] = trie.valueAt(back) === undefined ? (this.#next[back] ?? 0) : back
      }
    }
  }

  /** The node after one more character. */
  advance(from: number, character: number): number {
    let node = from
    for (;;) {
      const child = this.#trie.childOf(node, character)
      if (child >= 0) return child
      if (node === 0) return 0
      node = this.#fallback[node] ?? 0
    }
  }

  valueAt(node: number): T | undefined {
    return this.#trie.valueAt(node)
  }

  /** The next shorter text that ends here, or 0. */
  shorter(node: number): number {
    return this.#next[node] ?? 0
  }
}
