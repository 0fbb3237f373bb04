/** A run's strategy: what the run and its workflow say together, and in numbers for its targets. Pure. */
import { strategyFields, type Strategy } from "@signalbox/contracts/workflows/strategy"
import type { WorkflowDocument } from "@signalbox/contracts/workflows/document"
import { findPercent, resolveErrorsMax, resolveWidth } from "@signalbox/engine/limits"
import { wholeShare, type EnginePlan, type StopCondition } from "@signalbox/engine/plan"
import type { FailureGroup } from "@signalbox/engine/types"
import { resolveWaves } from "@signalbox/engine/waves"
import { compileExpression } from "@signalbox/expressions/compile-expression"
import type { VariableType } from "@signalbox/expressions/variable-type"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { getDuration } from "@signalbox/kernel/duration"
import { toLimit } from "./limit-choice.ts"

/** How long nodes keep what a rollback of a succeeded task needs, where the run may roll all of them back. */
export const keptForRollbackMilliseconds = 7 * 86_400_000

export type RollbackMode = "never" | "on-failure" | "all"
/** As it is stored with a run. */
export type RunStrategy = Strategy & { readonly rollback: RollbackMode }

const fields = Object.keys(strategyFields) as ReadonlyArray<keyof Strategy>

/** Members of the run take the place of the workflow's, each as a whole; what is rolled back is always said. */
export function chooseStrategy(run: Partial<Strategy>, document: WorkflowDocument): RunStrategy {
  const strategy: Strategy = Object.fromEntries(
    fields.flatMap((field) => {
      const value = run[field] ?? document[field]
      return value === undefined ? [] : [[field, value]]
    }),
  )
  return { ...strategy, rollback: strategy.rollback ?? usualRollback(document) }
}

/** Where nobody says: `on-failure` if there is anything to put back. */
function usualRollback(document: WorkflowDocument): RollbackMode {
  const undoable =
    document.save.length > 0 ||
    document.restore === "whole" ||
    document.steps.some((step) => (step.undo ?? step.file ?? step.service) !== undefined)
  return undoable ? "on-failure" : "never"
}

/** What a stop condition may name: `run` and the members of the engine's StopCounts. */
const stopNames = [
  ...["total", "started", "inFlight", "ended", "completed", "succeeded", "skipped", "failed", "timedOut"],
  ...["interrupted", "unreachable", "aborted", "failures", "unavailable", "rolledBack", "rollbackFailed"],
  ...["notReversible", "rollbackUnknown", "wave"],
] as const
const stopVariables: Readonly<Record<string, VariableType>> = {
  run: { fields: Object.fromEntries(stopNames.map((name) => [name, "int" as const])) },
}

/** @throws expressions.invalid */
function compileStop(text: string): StopCondition {
  const compiled = compileExpression(text, { variables: stopVariables, resultType: "bool" })
  return { text, test: (run) => compiled.evaluate({ run }) === true }
}

/** Refuses what the schema can't: an expression that is none. @throws executions.invalid-strategy */
export function checkStrategy(strategy: Strategy): void {
  if (strategy.stopWhen === undefined) return
  try {
    compileStop(strategy.stopWhen)
  } catch (error) {
    if (!isAppError(error)) throw error
    throw new AppError("executions.invalid-strategy", `stopWhen: ${error.message}`, {
      cause: error,
      issues: [{ path: "stopWhen", message: error.message }],
    })
  }
}

type Pace = Pick<
  EnginePlan,
  | "ramp"
  | "waves"
  | "bakeMilliseconds"
  | "unavailableMax"
  | "strict"
  | "errorRate"
  | "errorsMaxByClass"
  | "countUnreachable"
>

/** The strategy's members as the engine takes them; percentages are of `targetsCount`. */
export function paceOf(strategy: Strategy, targetsCount: number): Pace {
  const { ramp, waves, bake, unavailableLimit, strict, errorLimits, errorRate } = strategy
  return {
    countUnreachable: strategy.countUnreachable ?? false,
    ...(ramp === true && { ramp }),
    ...(waves && targetsCount > 0 && { waves: resolveWaves(waves.map(toLimit), targetsCount) }),
    ...(bake !== undefined && { bakeMilliseconds: getDuration(bake) }),
    ...(unavailableLimit !== undefined && {
      unavailableMax: resolveWidth(toLimit(unavailableLimit), Math.max(1, targetsCount)),
    }),
    ...(strict === true && { strict }),
    ...(errorLimits && { errorsMaxByClass: classLimits(errorLimits, targetsCount) }),
    ...(errorRate && { errorRate: { thousandths: shareOf(errorRate.limit), sampleMin: errorRate.sample } }),
  }
}

/** The condition that stops the run, compiled; nothing where there is none. */
export function stopOf({ stopWhen }: Strategy): Pick<EnginePlan, "stopWhen"> {
  return stopWhen === undefined ? {} : { stopWhen: compileStop(stopWhen) }
}

function classLimits(
  given: NonNullable<Strategy["errorLimits"]>,
  targetsCount: number,
): Partial<Record<FailureGroup, number>> {
  return Object.fromEntries(
    Object.entries(given).flatMap(([group, limit]) =>
      limit === undefined ? [] : [[group, resolveErrorsMax(toLimit(limit), targetsCount)]],
    ),
  )
}

function shareOf(text: string): number {
  const share = findPercent(text as `${string}%`)
  assert(share !== undefined && share <= wholeShare, "the schema lets percentages through alone")
  return share
}
