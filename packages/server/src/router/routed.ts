import type { Handler, ReadContext } from "./handler.ts"

/** A call that has passed the stages up to validation. */
export interface Routed {
  readonly handler: Handler
  readonly context: ReadContext
  readonly input: unknown
  /** The input as the caller sent it, where rules changed it since. */
  readonly asked?: unknown
}
