/** A run's plan as its owner works with it, from what is stored. Pure. */
import type { FrozenPlan } from "./batch-store.ts"
import type { ClaimedExecution } from "./claimed-execution.ts"
import type { RunShape } from "./model.ts"
import { chooseStrategy, keptForRollbackMilliseconds, type RunStrategy } from "./strategy-model.ts"
import { createOrderBuilder, type OrderBuilder } from "./task-order.ts"
import { reviveDocument } from "./workflow-text.ts"

export interface RunPlan {
  readonly frozen: FrozenPlan
  readonly shape: RunShape
  readonly strategy: RunStrategy
  readonly builder: OrderBuilder
}

export function openRunPlan(claimed: Pick<ClaimedExecution, "id" | "rollbackOf">, frozen: FrozenPlan): RunPlan {
  const document = reviveDocument(frozen.definition)
  const strategy = frozen.strategy ?? chooseStrategy({}, document)
  const keeps = strategy.rollback === "all"
  const builder = createOrderBuilder(document, frozen.parameters, {
    artifacts: frozen.parts.artifacts,
    keepMilliseconds: keeps ? keptForRollbackMilliseconds : undefined,
  })
  const shape = { executionId: claimed.id, document, strategy, isRollback: claimed.rollbackOf !== null }
  return { frozen, shape, strategy, builder }
}
