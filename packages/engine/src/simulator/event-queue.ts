/** What is to happen, by virtual time and, at the same time, by order of entry. A binary heap. */
export class EventQueue<T> {
  readonly #heap: Array<{ at: number; order: number; event: T }> = []
  #order = 0

  get size(): number {
    return this.#heap.length
  }

  push(at: number, event: T): void {
    const heap = this.#heap
    heap.push({ at, order: this.#order++, event })
    let index = heap.length - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!this.#before(index, parent)) break
      this.#swap(index, parent)
      index = parent
    }
  }

  pop(): { at: number; event: T } | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    heap[0] = last
    let index = 0
    for (;;) {
      const left = 2 * index + 1
      const child = left + 1 < heap.length && this.#before(left + 1, left) ? left + 1 : left
      if (child >= heap.length || !this.#before(child, index)) return first
      this.#swap(index, child)
      index = child
    }
  }

  #before(a: number, b: number): boolean {
    const [left, right] = [this.#heap[a], this.#heap[b]]
    if (!left || !right) return false
    return left.at < right.at || (left.at === right.at && left.order < right.order)
  }

  #swap(a: number, b: number): void {
    const [left, right] = [this.#heap[a], this.#heap[b]]
    if (!left || !right) return
    this.#heap[a] = right
    this.#heap[b] = left
  }
}
