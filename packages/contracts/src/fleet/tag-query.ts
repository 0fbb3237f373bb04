import { AppError } from "@signalbox/kernel/app-error"

/**
 * Tag queries: terms joined by commas, all of which must hold.
 *
 *     role=web             the tag has this value
 *     env!=prod            the tag has another value, or the node lacks the tag
 *     region in (eu, us)   the tag has one of these values
 *     gpu     !gpu         the node has the tag, whatever its value; lacks it
 *
 * A value is written bare (letters, digits and `._/:@+~*%-`) or in double quotes, where `\"` and `\\` stand for `"`
 * and `\`. An empty value is `role=` or `role=""`.
 */
export const tagQueryLimits = { termsMax: 32, valuesMax: 64, textLengthMax: 1000 } as const

export type TagTerm =
  | { readonly kind: "in"; readonly key: string; readonly values: readonly string[] }
  | { readonly kind: "not-equal"; readonly key: string; readonly value: string }
  | { readonly kind: "present"; readonly key: string }
  | { readonly kind: "absent"; readonly key: string }

/** Terms that must all hold. `role=web` is an `in` of one value. */
export interface TagQuery {
  readonly terms: readonly TagTerm[]
}

/**
 * Reads a tag query. Pure; time linear in the text.
 *
 * @throws fleet.invalid-tag-query with the column (from 1) of what could not be read
 * @example parseTagQuery("role=web, env!=prod").terms.length // 2
 */
export function parseTagQuery(text: string): TagQuery {
  if (text.length > tagQueryLimits.textLengthMax)
    throw invalid(tagQueryLimits.textLengthMax, `a query has at most ${tagQueryLimits.textLengthMax} characters`)
  const scanner = new Scanner(text)
  const terms: TagTerm[] = []
  do {
    if (terms.length === tagQueryLimits.termsMax)
      throw invalid(scanner.column, `a query has at most ${tagQueryLimits.termsMax} terms`)
    terms.push(readTerm(scanner))
  } while (scanner.skip(","))
  if (!scanner.atEnd) throw invalid(scanner.column, `expected a comma or the end, found ${scanner.found}`)
  return { terms }
}

/** True where a node with these tags is among those the query means. */
export function matchesTagQuery(query: TagQuery, tags: Readonly<Record<string, string>>): boolean {
  return query.terms.every((term) => matchesTerm(term, Object.hasOwn(tags, term.key) ? tags[term.key] : undefined))
}

function matchesTerm(term: TagTerm, value: string | undefined): boolean {
  switch (term.kind) {
    case "in":
      return value !== undefined && term.values.includes(value)
    case "not-equal":
      return value !== term.value
    case "present":
      return value !== undefined
    case "absent":
      return value === undefined
  }
}

function readTerm(scanner: Scanner): TagTerm {
  if (scanner.skip("!")) return { kind: "absent", key: scanner.key() }
  const key = scanner.key()
  if (scanner.skip("!=")) return { kind: "not-equal", key, value: scanner.value() }
  if (scanner.skip("=")) return { kind: "in", key, values: [scanner.value()] }
  if (scanner.skipWord("in")) return { kind: "in", key, values: readValues(scanner) }
  return { kind: "present", key }
}

function readValues(scanner: Scanner): string[] {
  scanner.expect("(")
  const values: string[] = []
  do {
    if (values.length === tagQueryLimits.valuesMax)
      throw invalid(scanner.column, `a list has at most ${tagQueryLimits.valuesMax} values`)
    values.push(scanner.value())
  } while (scanner.skip(","))
  scanner.expect(")")
  return values
}

function invalid(column: number, message: string): AppError {
  return new AppError("fleet.invalid-tag-query", `tag query, column ${column}: ${message}`, {
    issues: [{ path: "query", message, column }],
  })
}

/** A position in the text of a query. White space between tokens is skipped. */
class Scanner {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
    this.#skipSpace()
  }

  get column(): number {
    return this.#at + 1
  }

  get atEnd(): boolean {
    return this.#at === this.#text.length
  }

  get found(): string {
    return this.atEnd ? "the end" : JSON.stringify(this.#text.charAt(this.#at))
  }

  skip(token: string): boolean {
    if (!this.#text.startsWith(token, this.#at)) return false
    this.#move(token.length)
    return true
  }

  skipWord(word: string): boolean {
    const next = this.#text.charAt(this.#at + word.length)
    return (next === "(" || isSpace(next)) && this.skip(word)
  }

  expect(token: string): void {
    if (!this.skip(token)) throw invalid(this.column, `expected "${token}", found ${this.found}`)
  }

  key(): string {
    const key = this.#match(/[a-zA-Z][a-zA-Z0-9._/-]{0,62}/y)
    if (key === undefined) throw invalid(this.column, `expected the key of a tag, found ${this.found}`)
    this.#move(key.length)
    return key
  }

  value(): string {
    if (this.#text.charAt(this.#at) === '"') return this.#quoted()
    const value = this.#match(/[\p{L}\p{N}._/:@+~*%-]*/uy) ?? ""
    this.#move(value.length)
    return value
  }

  #quoted(): string {
    const begin = this.column
    const raw = this.#match(/"(?:[^"\\]|\\["\\])*"/y)
    if (raw === undefined)
      throw invalid(begin, "this quoted value doesn't end, or has a backslash before another character")
    const value = raw.slice(1, -1).replaceAll(/\\(["\\])/g, "$1")
    if (value.includes("\0") || !value.isWellFormed())
      throw invalid(begin, "this value has a character that no tag can have")
    this.#move(raw.length)
    return value
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    return pattern.exec(this.#text)?.[0]
  }

  #move(length: number): void {
    this.#at += length
    this.#skipSpace()
  }

  #skipSpace(): void {
    while (isSpace(this.#text.charAt(this.#at))) this.#at += 1
  }
}

function isSpace(character: string): boolean {
  return character === " " || character === "\t" || character === "\n" || character === "\r"
}
