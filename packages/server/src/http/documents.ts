import type { AnyOperation } from "@signalbox/contracts/operation"
import { makeOpenApi } from "@signalbox/contracts/openapi"
import { workflowJsonSchema } from "@signalbox/contracts/workflows/document"
import type { Database } from "../storage/database.ts"
import type { PublicDocument } from "./edge.ts"

const json = "application/json; charset=utf-8"

/** What anybody may read without a key. Made when first asked for: most servers are never asked. */
export function publicDocuments(options: {
  readonly operations: ReadonlyMap<string, AnyOperation>
  readonly version: string
  readonly database: Database
  readonly caPem?: string
}): ReadonlyMap<string, PublicDocument> {
  const documents = new Map<string, PublicDocument>([
    [
      "/v1/openapi.json",
      {
        mediaType: json,
        body: once(() => JSON.stringify(makeOpenApi([...options.operations.values()], options.version))),
      },
    ],
    ["/v1/schemas/workflow.json", { mediaType: json, body: once(() => JSON.stringify(workflowJsonSchema())) }],
    ["/healthz", { mediaType: json, body: () => '{"status":"ok"}' }],
    [
      "/readyz",
      {
        mediaType: json,
        body: async () => {
          await options.database.query("select 1")
          return '{"status":"ready"}'
        },
      },
    ],
  ])
  const { caPem } = options
  if (caPem !== undefined) documents.set("/v1/ca.pem", { mediaType: "application/x-pem-file", body: () => caPem })
  return documents
}

function once(make: () => string): () => string {
  let made: string | undefined
  return () => (made ??= make())
}
