/** A run's plan as its owner works with it, from what is stored. Pure. */
import type { WorkflowDocument } from "@signalbox/contracts/workflows/document"
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
  const builder = orderBuilderOf(document, { ...frozen, strategy })
  const shape = { executionId: claimed.id, document, strategy, isRollback: claimed.rollbackOf !== null }
  return { frozen, shape, strategy, builder }
}

/** What makes a run's orders; what is approved of it is made by the same. */
export function orderBuilderOf(
  document: WorkflowDocument,
  run: Pick<FrozenPlan, "parameters" | "parts"> & { readonly strategy: RunStrategy },
): OrderBuilder {
  const keeps = run.strategy.rollback === "all"
  return createOrderBuilder(document, run.parameters, {
    artifacts: run.parts.artifacts,
    keepMilliseconds: keeps ? keptForRollbackMilliseconds : undefined,
  })
}
