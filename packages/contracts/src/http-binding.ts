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
