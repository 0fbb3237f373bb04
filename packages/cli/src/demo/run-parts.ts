import type { Client } from "@signalbox/sdk/client"
import type { DemoScreen } from "./demo-screen.ts"
import type { DemoContext } from "./demo-server.ts"
import type { FleetHealth } from "./fleet-health.ts"
import type { FleetNode } from "./fleet-node.ts"
import type { Mailbox } from "./mailbox.ts"
import type { Prober } from "./prober.ts"

/** What a run of the demo works with. */
export interface RunParts extends DemoContext {
  readonly client: Client
  readonly mailbox: Mailbox
  readonly caPem: string
  readonly nodes: readonly FleetNode[]
  readonly prober: Prober
  readonly health: FleetHealth
  readonly secret: string
  readonly screen: DemoScreen
}
