import { refuseUnstorable } from "../../router/storable-text.ts"
import { agentProtocolVersion } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError } from "@signalbox/kernel/app-error"
import { decideAdmission } from "./model.ts"
import { appendNodeEvents, type FleetParts } from "./parts.ts"
import type { HelloFrame, SessionIdentity } from "./session.ts"
import { findAdmission, holdNode, lockAdmission, setMachine, type Admission } from "./session-store.ts"

/**
 * Lets a session in, or says why not. A second machine with the node's key makes the node held, durably, before
 * anybody is told.
 *
 * @throws fleet.protocol-violation, fleet.agent-identity-refused, fleet.node-held
 */
export async function admitSession(parts: FleetParts, session: SessionIdentity, hello: HelloFrame): Promise<void> {
  const { account, nodeId } = session
  if (hello.protocol !== agentProtocolVersion)
    throw new AppError(
      "fleet.protocol-violation",
      `the agent speaks protocol ${hello.protocol} and this server ${agentProtocolVersion}; use the same release of both`,
    )
  refuseUnstorable({ machineId: hello.machineId, agentVersion: hello.agentVersion }, "hello")
  const seen = decide(await findAdmission(parts.database, account, nodeId), session, hello)
  if (seen.kind === "admit" && !seen.write) return
  const verdict = await parts.database.transaction(async (tx) => {
    const node = await lockAdmission(tx, account, nodeId)
    const decided = decide(node, session, hello)
    if (decided.kind === "admit" && decided.write)
      await setMachine(tx, { account, id: nodeId, machineId: hello.machineId, agentVersion: hello.agentVersion })
    if (decided.kind === "clone") {
      const version = await holdNode(tx, { account, id: nodeId, now: parts.clock.now() })
      const data = { name: node?.name, machineIds: decided.machineIds }
      await appendNodeEvents(parts, tx, [{ account, nodeId, type: "node.held", version, cause: session.cause, data }])
    }
    return decided
  })
  if (verdict.kind === "clone") parts.logger.warn({ nodeId, machineIds: verdict.machineIds }, "held a cloned node")
  if (verdict.kind !== "admit") throw new AppError("fleet.node-held", `${nodeId} is held: two machines use its key`)
}

function decide(node: Admission | undefined, session: SessionIdentity, hello: HelloFrame) {
  if (!node) throw new AppError("fleet.agent-identity-refused", `${session.nodeId} is not enrolled any more`)
  return decideAdmission(node, hello)
}
