import { hooksOperations } from "./hooks.ts"
import { namedTriggersOperations } from "./named-triggers.ts"
import { signalsOperations } from "./signals.ts"

export const triggersOperations = [...signalsOperations, ...hooksOperations, ...namedTriggersOperations] as const
