import { permissions, roles, type Permission, type RoleName } from "../../packages/contracts/src/identity/roles.ts"
import type { AnyOperation } from "../../packages/contracts/src/operation.ts"
import { markdownTable, page } from "./generated-page.ts"

const roleNames = Object.keys(roles) as RoleName[]

/** `docs/roles.md`: which role may call which operation. */
export function makeRolePage(operations: readonly AnyOperation[]): string {
  const header = ["Operation", "Permission", "Narrowed key", ...roleNames]
  const rows = operations
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map((operation) => [
      `\`${operation.name}\``,
      operation.permission,
      scopeOf(operation),
      ...marks(operation.permission),
    ])
  const unused = permissions.filter((permission) => !operations.some((each) => each.permission === permission))
  return page(
    "Roles and operations",
    "A role is a named set of permissions; each operation needs exactly one. `agent` is held by an enrolled node's own " +
      "signature, `enrollment` by an enrolment key, `member` by every user, and `anonymous` by whoever has not logged in " +
      "yet; the others are given to users, service accounts and API keys. A key of somebody has no more than both its " +
      "own roles and its owner's allow. How people log in: [people](people.md).",
    "A [key that is narrowed to some nodes](people.md#keys-for-some-nodes) may call, beside what its roles allow, only what " +
      "has a mark under `Narrowed key`: `nodes` shows and touches its nodes alone, `yes` is about no node.",
    markdownTable(header, rows),
    ...(unused.length > 0 ? [`Permissions that no operation needs yet: ${unused.join(", ")}.`] : []),
  )
}

function scopeOf({ nodeScope }: AnyOperation): string {
  return nodeScope === "honoured" ? "nodes" : nodeScope === "none" ? "yes" : ""
}

function marks(permission: Permission): string[] {
  return roleNames.map((role) => ((roles[role] as readonly Permission[]).includes(permission) ? "yes" : ""))
}
