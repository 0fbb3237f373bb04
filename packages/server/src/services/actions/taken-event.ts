import type { RuleEvent } from "../../router/rule-ports.ts"

/** An event as rules' actions see it, with whoever made it. */
export interface TakenEvent extends RuleEvent {
  readonly principal: string
}
