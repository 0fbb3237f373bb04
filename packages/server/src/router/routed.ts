import type { Handler, ReadContext } from "./handler.ts"
import type { FoundExternal } from "./external-ports.ts"
import type { RemoteRoute } from "./routing-map.ts"

/** A call that has passed the stages up to validation. */
export interface Routed {
  readonly handler: Handler
  readonly context: ReadContext
  readonly input: unknown
  /** Where the map sends it, if that is not its handler in this process. */
  readonly remote?: RemoteRoute
  /** Where it is carried out, if that is a service outside. */
  readonly outside?: FoundExternal
  /** The input as the caller sent it, where rules changed it since. */
  readonly asked?: unknown
}
