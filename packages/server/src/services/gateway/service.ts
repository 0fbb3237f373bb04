import type { ExternalServices } from "../../router/external-ports.ts"
import type { Service } from "../../router/handler.ts"
import type { ConfigurationListener } from "../../storage/configuration-versions.ts"
import { gatewayHandlers } from "./handlers.ts"
import { lostCalls, unknownCallsRetention } from "./lost-calls.ts"
import type { GatewayOptions } from "./options.ts"
import { ServiceDirectory } from "./service-directory.ts"

/** Services outside: which there are, and where calls to them go. The calls themselves pass the router and the edge. */
export function createGatewayService(options: GatewayOptions): {
  readonly service: Service
  readonly external: ExternalServices
  readonly listener: ConfigurationListener
} {
  const directory = new ServiceDirectory({ ...options, sql: options.database })
  return {
    service: {
      name: "gateway",
      handlers: gatewayHandlers(options, directory),
      cronTasks: [lostCalls, unknownCallsRetention(() => options.clock.now())],
      stop: () => directory.stop(),
    },
    external: directory,
    listener: directory,
  }
}
