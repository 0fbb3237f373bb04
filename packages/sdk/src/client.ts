import type {
  CallInputOf,
  OperationDeclaration,
  OperationRoute,
  OutputOf,
  ResultOf,
} from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import type { z } from "zod"
import { type CallOptions, callOperation } from "./call.ts"
import { type ClientOptions, connect } from "./connection.ts"
import type { Input } from "./request-target.ts"
import { type StreamItem, type WatchOptions, watchOperation } from "./watch.ts"

type Declaration = OperationDeclaration<z.ZodObject, z.ZodType>

/** An operation, or its route alone: `client.call<typeof executionsCreate>(executionsCreateRoute, input)` loads no schema. */
type Called<O extends Declaration> = O | Pick<O, keyof OperationRoute>

/** Streams that go on after a cursor need their declaration, which says so. */
type Watched<O extends Declaration> = "cursor" extends keyof CallInputOf<O> ? O : Called<O>

export interface Client {
  readonly url: string
  /**
   * Calls an operation. A reading one returns its output, a changing one `Done | Held`. Lost connections and errors
   * that a repeat can cure are retried at most 5 times; a change carries one Idempotency-Key through all of them.
   *
   * @throws the server's code; cli.no-server, cli.certificate-untrusted
   * @example const page = await client.call(nodesList, { query: "role=web" })
   */
  call<O extends Declaration>(operation: Called<O>, input: CallInputOf<O>, options?: CallOptions): Promise<ResultOf<O>>
  /** Follows a stream; a lost connection is resumed after the last message that came. */
  watch<O extends Declaration>(
    operation: Watched<O>,
    input: CallInputOf<O>,
    options?: WatchOptions<OutputOf<O>>,
  ): AsyncGenerator<StreamItem<OutputOf<O>>>
  /** All pages of a list, one after another. */
  pages<O extends Declaration>(
    operation: Called<O>,
    input: CallInputOf<O>,
    options?: CallOptions,
  ): AsyncGenerator<OutputOf<O>>
  /** Closes the connections; calls that run are cut. */
  close(): Promise<void>
}

/** A client of one server. It holds connections: close it. @throws cli.usage where the URL is none */
export function createClient(options: ClientOptions): Client {
  const connection = connect(options)
  const call = (operation: OperationRoute, input: unknown, callOptions?: CallOptions) =>
    callOperation(connection, operation, { input: input as Input, ...callOptions })
  return {
    url: connection.url.href.replace(/\/$/, ""),
    call: (operation, input, callOptions) => call(operation, input, callOptions) as never,
    watch: (operation, input, watchOptions = {}) =>
      watchOperation(connection, operation, {
        input: input as Input,
        ...(watchOptions as WatchOptions<unknown>),
      }) as never,
    pages: (operation, input, callOptions) =>
      readPages((page) => call(operation, page, callOptions), input as Input) as never,
    close: async () => connection.transport.close(),
  }
}

/** Pages of one list; far more than any list that a person could read. */
const pagesMax = 100_000

async function* readPages(call: (input: Input) => Promise<unknown>, input: Input): AsyncGenerator<unknown> {
  let cursor = input["cursor"]
  for (let count = 0; count < pagesMax; count++) {
    const page = (await call({ ...input, cursor })) as { readonly nextCursor?: string }
    yield page
    if (page.nextCursor === undefined) return
    if (page.nextCursor === cursor) throw new AppError("request.internal", "the server gave the same page cursor twice")
    cursor = page.nextCursor
  }
  throw new AppError("request.internal", `the list has more than ${pagesMax} pages`)
}
