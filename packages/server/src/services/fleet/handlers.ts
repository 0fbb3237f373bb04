import type { Handler } from "../../router/handler.ts"
import { enrollmentHandlers, type EnrollmentOptions } from "./enrollment-handlers.ts"
import { groupHandlers } from "./group-handlers.ts"
import { nodeHandlers, type CloseSessions } from "./node-handlers.ts"
import { resourceHandlers } from "./resource-handlers.ts"

/** The handlers of the fleet's operations but those of `sessions`, which belong to the service's own sessions. */
export function fleetHandlers(options: EnrollmentOptions, closeSessions: CloseSessions): Handler[] {
  return [
    ...nodeHandlers(closeSessions),
    ...resourceHandlers(options),
    ...enrollmentHandlers(options),
    ...groupHandlers(options),
  ]
}
