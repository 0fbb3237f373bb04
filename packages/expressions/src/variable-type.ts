/**
 * What an expression may assume of a variable. `int`: a whole number of at most 2^53; `timestamp`: RFC 3339 text;
 * `duration`: text such as `90s` or `PT90S`; `dyn`: any JSON value, looked at when the expression runs; `fields`: an
 * object with just these fields (a name beside them is refused at once), each of which may be absent unless it is
 * `required`. Addresses, blocks and versions are made by `ip()`, `cidr()` and `semver()` alone.
 */
export type VariableType =
  | "bool"
  | "int"
  | "double"
  | "string"
  | "timestamp"
  | "duration"
  | "ip"
  | "cidr"
  | "semver"
  | "null"
  | "dyn"
  | { readonly list: VariableType }
  | { readonly map: VariableType }
  | { readonly fields: Readonly<Record<string, VariableType>>; readonly required?: readonly string[] }

export type Kind =
  | "bool"
  | "int"
  | "double"
  | "string"
  | "timestamp"
  | "duration"
  | "ip"
  | "cidr"
  | "semver"
  | "null"
  | "dyn"
  | "list"
  | "map"

export function kindOf(type: VariableType): Kind {
  if (typeof type === "string") return type
  return "list" in type ? "list" : "map"
}

/** The type of what a list holds, or of a map's keys, which is what a comprehension walks over. */
export function itemTypeOf(type: VariableType): VariableType {
  if (typeof type === "string") return "dyn"
  return "list" in type ? type.list : "string"
}

export function isNumeric(kind: Kind): boolean {
  return kind === "int" || kind === "double"
}

/** The type of a value that may come from either of two branches. */
export function joinTypes(a: VariableType, b: VariableType): VariableType {
  return JSON.stringify(a) === JSON.stringify(b) ? a : "dyn"
}
