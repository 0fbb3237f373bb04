import type { Handler, ReadContext } from "./handler.ts"
import type { FoundExternal } from "./external-ports.ts"
import type { Destination, RemoteRoute } from "./routing-map.ts"
import type { ActionMessage } from "./rule-ports.ts"

/** A call that has passed the stages up to validation. */
export interface Routed {
  readonly handler: Handler
  readonly context: ReadContext
  readonly input: unknown
  /** Where the map sends it, if that is not its handler in this process. */
  readonly remote?: RemoteRoute
  /** Where it is carried out, if that is a service outside. */
  readonly outside?: FoundExternal
  /** Which rules service its row names; ours where left out. */
  readonly consults?: "none" | Destination
  /** What that service wants done once the call is carried out; one at least. */
  readonly messages?: readonly ActionMessage[]
  /** The input as the caller sent it, where rules changed it since. */
  readonly asked?: unknown
}
