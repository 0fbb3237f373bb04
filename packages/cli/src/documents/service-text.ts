import { readFileSync } from "node:fs"
import { dirname, resolve } from "node:path"
import { gatewayLimits, serviceFields } from "@signalbox/contracts/gateway/operations"
import { AppError } from "@signalbox/kernel/app-error"
import { parse, stringify } from "yaml"
import { z } from "zod"
import { durationText } from "./duration-text.ts"

/** A service as it is applied: its OpenAPI document stands in it, or is a file beside it. */
export const serviceDocument = z
  .strictObject({
    kind: z.literal("Service"),
    ...serviceFields,
    document: z.union([z.string().min(1).max(4096), z.record(z.string(), z.unknown())]),
  })
  .transform((document) => {
    const { kind: _, ...rest } = document
    return rest
  })

type ServiceDocument = z.output<typeof serviceDocument>

/** The service with its OpenAPI document, read from the file that it names. @throws cli.invalid-documents */
export function readApiDocument(value: ServiceDocument, file: string): ServiceDocument {
  if (typeof value.document !== "string") return value
  const path = resolve(dirname(file), value.document)
  const document = readFile(path, value.name)
  if (typeof document === "object" && document !== null && !Array.isArray(document))
    return { ...value, document: document as Record<string, unknown> }
  throw new AppError("cli.invalid-documents", `service ${value.name}: ${path} holds no OpenAPI document`)
}

function readFile(path: string, service: string): unknown {
  try {
    const text = readFileSync(path, "utf8")
    if (text.length > gatewayLimits.documentBytesMax * 4) throw new Error("the file is too large")
    return parse(text, { maxAliasCount: 100 })
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new AppError("cli.invalid-documents", `service ${service}: ${path} can't be read: ${why}`, { cause })
  }
}

/** A service as a document, always written the same way, so that two of them can be compared. */
export function serviceText(service: ServiceDocument): string {
  const { name, description, upstreams, balance, timeouts, retries, credentials, forwardAuthorization } = service
  const { health, breaker, operations, document } = service
  return stringify({
    kind: "Service",
    name,
    ...given({ description }),
    ...{
      upstreams,
      balance,
      timeouts: durationsOf(timeouts),
      retries,
      ...given({ credentials }),
      forwardAuthorization,
    },
    ...given({ health: health && durationsOf(health) }),
    breaker: durationsOf(breaker),
    operations,
    document,
  })
}

const durationFields: ReadonlySet<string> = new Set([
  "connect",
  "headers",
  "idle",
  "total",
  "every",
  "timeout",
  "openFor",
])

function durationsOf(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [name, durationFields.has(name) ? durationText(String(value)) : value]),
  )
}

function given(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
