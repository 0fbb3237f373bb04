import { pathFields, type AnyOperation } from "./operation.ts"

/** Where HTTP carries the members of an operation's flat input. */
export interface RequestFields {
  readonly path: readonly string[]
  readonly query: readonly string[]
  readonly body: readonly string[]
}

/**
 * Splits an operation's input: what the path doesn't carry is in the query (GET, DELETE) or in the JSON body.
 *
 * @example requestFields(nodesUpdate) // { path: ["node"], query: [], body: ["tags", "release"] }
 */
export function requestFields(operation: AnyOperation): RequestFields {
  const path = pathFields(operation.path)
  const rest = Object.keys(operation.input.shape).filter((name) => !path.includes(name))
  const inQuery = operation.method === "GET" || operation.method === "DELETE"
  return { path, query: inQuery ? rest : [], body: inQuery ? [] : rest }
}

/** The status of a reply that was carried out: 201 where a POST to a collection made something, else 200. */
export function doneStatus(operation: AnyOperation): 200 | 201 {
  const makes = operation.effect === "change" && operation.method === "POST" && !operation.path.includes(":")
  return makes ? 201 : 200
}
