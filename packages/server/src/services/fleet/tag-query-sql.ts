import type { TagQuery, TagTerm } from "@signalbox/contracts/fleet/tag-query"

/** Puts a value among a statement's parameters and gives the text that stands for it, as in `$3`. */
export type Bind = (value: unknown) => string

/**
 * A tag query as a condition on the column `tags` (jsonb). Equality uses `@>`, which the index on the column answers;
 * keys and values travel as parameters. The meaning is that of `matchesTagQuery`; a property test holds them together.
 */
export function compileTagQuery(query: TagQuery, bind: Bind): string {
  return query.terms.map((term) => `(${compileTerm(term, bind)})`).join(" and ")
}

function compileTerm(term: TagTerm, bind: Bind): string {
  switch (term.kind) {
    case "in":
      return [...new Set(term.values)].map((value) => contains(term.key, value, bind)).join(" or ")
    case "not-equal":
      return `not ${contains(term.key, term.value, bind)}`
    case "present":
      return `tags ? ${bind(term.key)}::text`
    case "absent":
      return `not tags ? ${bind(term.key)}::text`
  }
}

const contains = (key: string, value: string, bind: Bind) => `tags @> ${bind(JSON.stringify({ [key]: value }))}::jsonb`
