import { principalsGet, principalsList } from "@signalbox/contracts/identity/people"
import type { OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { onRead, type Handler } from "../../router/handler.ts"
import type { PeopleDirectory, Principal } from "../../router/ports.ts"
import { decodeCursor } from "../../storage/cursor.ts"
import { page } from "./page.ts"

/** Answered from memory, as approvals and schedules see it. */
export function principalHandlers(directory: PeopleDirectory): Handler[] {
  return [
    onRead(principalsList, ({ kind, team, cursor, limit }, { account, now }) => {
      const [after = ""] = cursor ? decodeCursor(cursor, 1) : []
      const rows = directory
        .listPrincipals(account, now)
        .filter((each) => each.id > String(after))
        .filter((each) => kind === undefined || each.kind === kind)
        .filter((each) => team === undefined || each.teams.includes(team))
      return Promise.resolve(page(rows.slice(0, limit + 1), limit, { item: toPrincipal, key: ({ id }) => id }))
    }),
    onRead(principalsGet, ({ principal }, { account, now }) => {
      const found = directory.describePrincipal(account, principal, now)
      if (!found)
        throw new AppError("identity.principal-not-found", `there is no principal "${principal}" in this account`)
      return Promise.resolve(toPrincipal(found))
    }),
  ]
}

function toPrincipal({ id, kind, name, displayName, teams, caller }: Principal): OutputOf<typeof principalsGet> {
  return { ...{ id, kind, name, displayName }, teams: [...teams], roles: [...(caller?.roles ?? [])], disabled: !caller }
}
