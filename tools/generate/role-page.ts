import { permissions, roles, type Permission, type RoleName } from "../../packages/contracts/src/identity/roles.ts"
import type { AnyOperation } from "../../packages/contracts/src/operation.ts"
import { markdownTable, page } from "./generated-page.ts"

const roleNames = Object.keys(roles) as RoleName[]

/** `docs/roles.md`: which role may call which operation. */
export function makeRolePage(operations: readonly AnyOperation[]): string {
  const header = ["Operation", "Permission", ...roleNames]
  const rows = operations
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map((operation) => [`\`${operation.name}\``, operation.permission, ...marks(operation.permission)])
  const unused = permissions.filter((permission) => !operations.some((each) => each.permission === permission))
  return page(
    "Roles and operations",
    "A role is a named set of permissions; each operation needs exactly one. `agent` is held by an enrolled node's own " +
      "signature, `enrollment` by an enrolment key, `member` by every user, and `anonymous` by whoever has not logged in " +
      "yet; the others are given to users, service accounts and API keys. A key of somebody has no more than both its " +
      "own roles and its owner's allow. How people log in: [people](people.md).",
    markdownTable(header, rows),
    ...(unused.length > 0 ? [`Permissions that no operation needs yet: ${unused.join(", ")}.`] : []),
  )
}

function marks(permission: Permission): string[] {
  return roleNames.map((role) => ((roles[role] as readonly Permission[]).includes(permission) ? "yes" : ""))
}
