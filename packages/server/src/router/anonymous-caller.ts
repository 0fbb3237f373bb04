import { permissionsOf, type RoleName } from "@signalbox/contracts/identity/roles"
import type { AnyOperation } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import type { Caller } from "./handler.ts"

const roles: readonly RoleName[] = ["anonymous"]
const permissions = permissionsOf(roles)

/**
 * Who calls an operation that needs no credentials: nobody, in the account that the input names. Undefined for every
 * other operation.
 *
 * @throws request.invalid-input where the input names no account
 */
export function anonymousCaller(operation: AnyOperation | undefined, input: unknown): Caller | undefined {
  if (operation?.anonymous !== true) return undefined
  const given = (input ?? {}) as Readonly<Record<string, unknown>>
  const parsed = operation.input.pick({ account: true }).safeParse({ account: given["account"] })
  if (!parsed.success)
    throw new AppError(
      "request.invalid-input",
      `${operation.name}: account: ${parsed.error.issues[0]?.message ?? ""}`,
      {
        issues: [{ path: "account", message: parsed.error.issues[0]?.message ?? "is no account's id" }],
      },
    )
  const account = String(parsed.data["account"])
  return { account, principal: "anonymous", kind: "anonymous", roles, permissions }
}
