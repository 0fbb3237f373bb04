import { type AnyOperation, type OperationRoute, pathFields } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"

export type Input = Readonly<Record<string, unknown>>

export interface RequestTarget {
  readonly method: AnyOperation["method"]
  /** Path and query, relative to the server's URL. */
  readonly path: string
  /** Undefined for GET and DELETE. */
  readonly body?: string
}

/**
 * Where a call of an operation goes: path fields in the path, the rest in the query (GET, DELETE; arrays repeat the
 * field) or as a JSON body. Members that are undefined are left out.
 *
 * @throws request.invalid-input where a path field is missing or empty
 */
export function requestTarget(operation: OperationRoute, input: Input): RequestTarget {
  const inPath = new Set(pathFields(operation.path))
  const path = operation.path.replaceAll(/\{([a-zA-Z]+)\}/g, (_, field: string) => pathSegment(operation, field, input))
  const rest = Object.entries(input).filter(([field, value]) => !inPath.has(field) && value !== undefined)
  if (operation.method === "GET" || operation.method === "DELETE") {
    const query = new URLSearchParams(
      rest.flatMap(([field, value]) =>
        (Array.isArray(value) ? value : [value]).map((item): [string, string] => [field, queryText(item)]),
      ),
    ).toString()
    return { method: operation.method, path: query === "" ? path : `${path}?${query}` }
  }
  return { method: operation.method, path, body: JSON.stringify(Object.fromEntries(rest)) }
}

function pathSegment(operation: OperationRoute, field: string, input: Input): string {
  const value = input[field]
  if ((typeof value !== "string" && typeof value !== "number") || value === "" || value === "." || value === "..") {
    const message = `${operation.name} needs a ${field} in its path`
    throw new AppError("request.invalid-input", message, { issues: [{ path: field, message: "is missing or empty" }] })
  }
  return encodeURIComponent(value)
}

function queryText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value)
}
