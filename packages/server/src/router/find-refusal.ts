import type { AnyOperation } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import type { Caller } from "./handler.ts"

/** Why a caller may not call an operation at all: it lacks the permission, or is narrowed to nodes and this is not. Pure. */
export function findRefusal(operation: AnyOperation, caller: Caller): AppError | undefined {
  const { name, permission, nodeScope } = operation
  const { principal, roles, nodes } = caller
  if (!caller.permissions.has(permission))
    return new AppError("identity.permission-denied", `${principal} lacks the permission ${permission}`, {
      details: { permission, roles },
    })
  if (nodes === undefined || nodeScope !== undefined) return undefined
  const why = `${principal} is narrowed to the nodes ${nodes}, and ${name} does not keep to nodes`
  return new AppError("identity.narrowed", why, { details: { nodes } })
}
