import type { Destination, RoutingMap } from "../../router/routing-map.ts"
import type { RuleCall, RuleDecision, RuleMatcher } from "../../router/rule-ports.ts"

/**
 * Rules as the map says (R15): which rules service is asked about an operation. `none` takes rules out of that operation
 * alone; another one gates over the wire, before the call; what follows calls and events is always the built-in one's.
 */
export function mapRules(options: {
  readonly builtIn: RuleMatcher
  readonly map: () => RoutingMap
  readonly decide: (to: Destination, call: RuleCall) => Promise<RuleDecision>
}): RuleMatcher {
  const { builtIn, map, decide } = options
  return {
    isAsked(account, operation, phase) {
      const named = map().rules.get(operation)
      if (named === undefined) return builtIn.isAsked(account, operation, phase)
      return named !== "none" && phase === "before"
    },
    readsInput(account, operation, field) {
      const named = map().rules.get(operation)
      if (named === undefined) return builtIn.readsInput(account, operation, field)
      // Nobody here knows what another rules service looks at.
      return named !== "none"
    },
    decide(call) {
      const named = map().rules.get(call.operation)
      if (named === undefined) return builtIn.decide(call)
      return named === "none" ? { kind: "pass" } : decide(named, call)
    },
    follow: (call) => (map().rules.has(call.operation) ? [] : builtIn.follow(call)),
    isAwaited: (account, event) => builtIn.isAwaited(account, event),
    matchEvent: (account, event) => builtIn.matchEvent(account, event),
    eventTypes: () => builtIn.eventTypes(),
    find: (account, firing) => builtIn.find(account, firing),
    isInForce: (account, rule) => builtIn.isInForce(account, rule),
  }
}
