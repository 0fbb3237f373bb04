import { actionsOperations } from "./actions/operations.ts"
import { approvalsOperations } from "./approvals/operations.ts"
import { artifactsOperations } from "./artifacts/operations.ts"
import { auditOperations } from "./audit/operations.ts"
import { calendarsOperations } from "./calendars/operations.ts"
import { catalogOperations } from "./catalog/operations.ts"
import { fleetOperations } from "./fleet/operations.ts"
import { gatewayOperations } from "./gateway/operations.ts"
import { identityOperations } from "./identity/operations.ts"
import { notificationsOperations } from "./notifications/operations.ts"
import type { AnyOperation } from "./operation.ts"
import { routingOperations } from "./routing/operations.ts"
import { rulesOperations } from "./rules/operations.ts"
import { masterKeyOperations } from "./secrets/master-key.ts"
import { secretsOperations } from "./secrets/operations.ts"
import { triggersOperations } from "./triggers/operations.ts"
import { workflowsOperations } from "./workflows/operations.ts"

/** Every operation of the built-in services. A new service adds its list here. */
export const operations: readonly AnyOperation[] = [
  ...identityOperations,
  ...routingOperations,
  ...auditOperations,
  ...fleetOperations,
  ...workflowsOperations,
  ...secretsOperations,
  ...masterKeyOperations,
  ...artifactsOperations,
  ...calendarsOperations,
  ...notificationsOperations,
  ...approvalsOperations,
  ...catalogOperations,
  ...gatewayOperations,
  ...triggersOperations,
  ...rulesOperations,
  ...actionsOperations,
]

const byName = new Map(operations.map((operation) => [operation.name, operation]))

export function findOperation(name: string): AnyOperation | undefined {
  return byName.get(name)
}
