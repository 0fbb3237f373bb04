import type { Reply } from "@signalbox/contracts/operation"
import { hasCode } from "@signalbox/kernel/app-error"
import type { ErrorCode } from "@signalbox/kernel/error-catalogue"
import type { Client } from "@signalbox/sdk/client"
import type { z } from "zod"

/** A kind of document that is an operation's input and nothing more. */
export interface DeclaredKind {
  /** What messages call it. */
  readonly noun: string
  readonly schema: z.ZodType<Declared>
  /** A document, always written the same way, so that two of them can be compared. */
  text(value: Declared): string
  /** What is stored under the name, as a document; undefined where nothing is. */
  findText(client: Client, value: Declared): Promise<string | undefined>
  apply(client: Client, value: Declared): Promise<Outcome>
  /** Reads what a document names of other files, beside its own. @throws cli.invalid-documents */
  complete?(value: Declared, file: string): Declared
}

/** A document after its check: the operation's input, and the name that all of them have. */
export interface Declared {
  readonly name: string
}

export interface Warning {
  readonly path: string
  readonly message: string
}

export type Outcome =
  | {
      readonly result: "unchanged" | "created" | "changed"
      readonly version?: number
      /** Worth knowing although it is stored. */
      readonly warnings?: readonly Warning[]
      /** What is shown this once, by its name. */
      readonly shown?: Readonly<Record<string, string>>
    }
  | { readonly result: "held"; readonly requestUrl: string }

/** Binds the parts of a kind to one another by the type of its documents. */
export function declare<Value extends Declared>(kind: {
  readonly noun: string
  readonly schema: z.ZodType<Value>
  text(value: Value): string
  findText(client: Client, value: Value): Promise<string | undefined>
  apply(client: Client, value: Value): Promise<Outcome>
  complete?(value: Value, file: string): Value
}): DeclaredKind {
  return kind as unknown as DeclaredKind
}

export function withoutKind<Document extends { readonly kind: string }>(document: Document): Omit<Document, "kind"> {
  const { kind: _, ...rest } = document
  return rest
}

interface Stored {
  readonly changed: boolean
  readonly version: number
  readonly warnings?: readonly Warning[] | undefined
}

export function outcomeOf(reply: Reply<Stored>): Outcome {
  if (reply.status === "held") return { result: "held", requestUrl: reply.requestUrl }
  const { changed, version, warnings = [] } = reply.value
  const result = changed ? (version === 1 ? "created" : "changed") : "unchanged"
  return { result, version, ...(warnings.length > 0 && { warnings }) }
}

/** What a call gives, or undefined where it is refused with this code. */
export async function findUnless<T>(call: Promise<T>, code: ErrorCode): Promise<T | undefined> {
  try {
    return await call
  } catch (error) {
    if (hasCode(error, code)) return undefined
    throw error
  }
}
