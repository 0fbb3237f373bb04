import { assert } from "@signalbox/kernel/assert"
import type { ExternalServices } from "../router/external-ports.ts"
import type { CallPlanner, OperationCaller, StandingCaller, StandingRecord } from "../router/ports.ts"
import type { Router } from "../router/router.ts"
import type { ConfigurationWatcher } from "../storage/configuration-versions.ts"

export interface LateParts {
  readonly external?: ExternalServices
  readonly router?: Router
  readonly watcher?: ConfigurationWatcher
}

export function lateExternal(late: LateParts): Pick<ExternalServices, "list" | "find" | "findOperation"> {
  return {
    list: (account) => late.external?.list(account) ?? [],
    find: (account, service) => late.external?.find(account, service),
    findOperation: (account, name) => late.external?.findOperation(account, name),
  }
}

export function lateCaller(late: {
  readonly router?: Router
}): OperationCaller & StandingCaller & StandingRecord & CallPlanner {
  const router = (): Router => {
    assert(late.router !== undefined, "the router is made before the first call")
    return late.router
  }
  return {
    call: (operation, input, as) => router().call(operation, input, as),
    callStanding: (call) => router().callStanding(call),
    findStandingChange: (sql, call) => router().findStandingChange(sql, call),
    findStandingSend: (sql, call) => router().findStandingSend(sql, call),
    findStandingReply: (sql, call) => router().findStandingReply(sql, call),
    planCall: (call) => router().planCall(call),
  }
}
