import { describe, expect, test } from "vitest"
import { recoverState } from "../recover.ts"
import { newState, step } from "../scheduler.ts"
import { SlotTable } from "../slot-table.ts"
import type { EngineState, StepResult } from "../types.ts"
import { realEngine, simulate, type Engine } from "./simulation.ts"

/** A fault is found within this many schedules, or the simulator is too weak. */
const schedulesMax = 500

interface Fault {
  /** The invariants that may be the first to notice. */
  readonly caughtBy: readonly string[]
  readonly engine: Partial<Engine>
}

type Step = typeof step

/** The real step with its result changed afterwards. */
function spoil(change: (result: StepResult, before: EngineState) => StepResult): Partial<Engine> {
  return {
    step: (state, inputs, now) => change(step(state, inputs, now), state),
    recoverState: (plan, rows, now) => {
      const result = recoverState(plan, rows, now)
      return change(result, newState(plan, now))
    },
  }
}

/** The real step with another error limit. */
function withErrorsMax(shift: number): Step {
  return (state, inputs, now) => {
    const plan = { ...state.plan, errorsMax: state.plan.errorsMax + shift }
    const result = step({ ...state, plan }, inputs, now)
    return { ...result, state: { ...result.state, plan: state.plan } }
  }
}

function forkOf(state: EngineState): SlotTable {
  if (!(state.slots instanceof SlotTable)) throw new TypeError("not a state of the scheduler")
  return state.slots.fork()
}

const faults: Readonly<Record<string, Fault>> = {
  "a slot is freed when the rollback starts": {
    caughtBy: ["I1"],
    engine: spoil((result) => {
      const slots = forkOf(result.state)
      for (const slot of [...slots.values()]) if (slot.rollback !== "none") slots.delete(slot.ordinal)
      return { ...result, state: { ...result.state, slots } }
    }),
  },
  "a slot is never freed": {
    caughtBy: ["I1"],
    engine: spoil((result, before) => {
      const slots = forkOf(result.state)
      for (const slot of before.slots.values()) if (!slots.get(slot.ordinal)) slots.set(slot)
      return { ...result, state: { ...result.state, slots } }
    }),
  },
  "one place more than the width": {
    caughtBy: ["I1"],
    engine: {
      step: (state, inputs, now) => {
        const result = step({ ...state, width: state.width + 1 }, inputs, now)
        return { ...result, state: { ...result.state, width: result.state.width - 1 } }
      },
    },
  },
  "the run stops at the limit instead of above it": { caughtBy: ["I2"], engine: { step: withErrorsMax(-1) } },
  "the run stops one failure too late": { caughtBy: ["I2"], engine: { step: withErrorsMax(1) } },
  "a target starts after the stop": {
    caughtBy: ["I3"],
    engine: spoil((result) => {
      const { execution, nextOrdinal: ordinal, plan } = result.state
      if (execution !== "aborting" || ordinal >= plan.targetsCount) return result
      const change = { ordinal, state: "starting", rollback: "none", attempt: 1, class: null } as const
      const start = { type: "start", ordinal, attempt: 1 } as const
      return { ...result, taskChanges: [...result.taskChanges, change], commands: [...result.commands, start] }
    }),
  },
  "the range of the rest is one short": {
    caughtBy: ["I3"],
    engine: spoil((result) => {
      const { neverStarted } = result
      return neverStarted ? { ...result, neverStarted: { ...neverStarted, to: neverStarted.to - 1 } } : result
    }),
  },
  "a late report overwrites a terminal state": {
    caughtBy: ["I4"],
    engine: spoil((result) => {
      const late = result.ignored.find(({ input, why }) => why === "ended" && input.type === "task-finished")?.input
      if (late?.type !== "task-finished" || late.outcome.state === "failed") return result
      const { ordinal, attempt, outcome } = late
      const change = { ordinal, state: outcome.state, rollback: "none", attempt, class: null } as const
      return { ...result, taskChanges: [...result.taskChanges.filter((one) => one.ordinal !== ordinal), change] }
    }),
  },
  "an interrupted attempt is tried again": {
    caughtBy: ["I5", "I16"],
    engine: {
      step: (state, inputs, now) =>
        step(
          state,
          inputs.map((input) =>
            input.type === "task-finished" && input.outcome.state === "interrupted"
              ? { ...input, outcome: { state: "failed" } }
              : input,
          ),
          now,
        ),
    },
  },
  "a count drifts": {
    caughtBy: ["I7"],
    engine: spoil((result) => {
      const { counts } = result.state
      if (result.ignored.length === 0) return result
      return { ...result, state: { ...result.state, counts: { ...counts, succeeded: counts.succeeded + 1 } } }
    }),
  },
  "targets start during a pause": {
    caughtBy: ["I8"],
    engine: {
      step: (state, inputs, now) => {
        if (state.execution !== "pausing") return step(state, inputs, now)
        const result = step({ ...state, execution: "running" }, inputs, now)
        return { ...result, state: { ...result.state, execution: "pausing" } }
      },
    },
  },
  "an abort is refused while paused": {
    caughtBy: ["I9"],
    engine: {
      step: (state, inputs, now) => {
        const taken = state.execution === "paused" ? inputs.filter(({ type }) => type !== "abort") : inputs
        return step(state, taken, now)
      },
    },
  },
  "a harsh abort sends no kill": {
    caughtBy: ["I9"],
    engine: spoil((result) => ({
      ...result,
      commands: result.commands.filter((command) => command.type !== "kill" || command.reason !== "abort"),
    })),
  },
  "a task over its time is given up without a kill": {
    caughtBy: ["I15"],
    engine: spoil((result) => ({
      ...result,
      commands: result.commands.filter((command) => command.type !== "kill" || command.reason === "abort"),
    })),
  },
  "a rollback is noted and never sent": {
    caughtBy: ["I10"],
    engine: spoil((result) => ({ ...result, commands: result.commands.filter(({ type }) => type !== "rollback") })),
  },
  "a refused report counts as taken": {
    caughtBy: ["I12"],
    engine: spoil((result) => ({ ...result, ignored: [] })),
  },
  "a step writes into its input": {
    caughtBy: ["I13", "I7"],
    engine: {
      step: (state, inputs, now) => {
        const counts = state.counts as Record<"queued", number>
        counts.queued -= 1
        const result = step(state, inputs, now)
        return { ...result, state: { ...result.state, counts: { ...result.state.counts, queued: counts.queued + 1 } } }
      },
    },
  },
  "a recovery sends a new attempt": {
    caughtBy: ["I14"],
    engine: {
      recoverState: (plan, rows, now) => {
        const result = recoverState(plan, rows, now)
        const commands = result.commands.map((one) =>
          one.type === "start" ? { ...one, attempt: one.attempt + 1 } : one,
        )
        return { ...result, commands }
      },
    },
  },
  "a recovery sends nothing again": {
    caughtBy: ["I14", "I10"],
    engine: { recoverState: (plan, rows, now) => ({ ...recoverState(plan, rows, now), commands: [] }) },
  },
  "a report is lost between acknowledgement and commit": {
    caughtBy: ["I16", "I12"],
    engine: {
      step: (state, inputs, now) => step(state, inputs.length > 1 ? inputs.slice(1) : inputs, now),
    },
  },
  "a percentage of errors is rounded up": {
    caughtBy: ["I17"],
    engine: {
      resolveErrorsMax: (limit, n) =>
        typeof limit === "string" ? Math.ceil((Number.parseInt(limit, 10) * n) / 100) : limit,
    },
  },
  "a percentage of the width is rounded up": {
    caughtBy: ["I17"],
    engine: {
      resolveWidth: (limit, n) =>
        Math.max(1, typeof limit === "string" ? Math.ceil((Number.parseInt(limit, 10) * n) / 100) : Math.min(limit, n)),
    },
  },
  "deadlines never pass": {
    caughtBy: ["I18"],
    engine: {
      step: (state, inputs) => step(state, inputs, 0),
      recoverState: (plan, rows) => recoverState(plan, rows, 0),
    },
  },
}

describe("the simulator finds each planted fault", () => {
  for (const [name, { caughtBy, engine }] of Object.entries(faults)) {
    test(`${name} (${caughtBy.join(" or ")})`, () => {
      for (let seed = 1; seed <= schedulesMax; seed++) {
        const { failure, trace } = simulate(seed, { engine: { ...realEngine, ...engine } })
        if (!failure) continue
        expect(caughtBy).toContain(failure.invariant)
        expect(trace.length).toBeGreaterThan(0)
        return
      }
      expect.fail(`not found in ${schedulesMax} schedules`)
    })
  }
})
