import { describe, expect, test } from "vitest"
import { DomainCounts, interleaveByDomain } from "../failure-domains.ts"
import type { EnginePlan, StopCondition } from "../plan.ts"
import { recoverState } from "../recover.ts"
import { isAtWaveEnd, roomOf } from "../room.ts"
import { newState, step } from "../scheduler.ts"
import { SlotTable } from "../slot-table.ts"
import type { EngineState, StepResult } from "../types.ts"
import { resolveWaves } from "../waves.ts"
import { realEngine, type Engine } from "./engine-under-test.ts"
import { simulate } from "./simulation.ts"

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

/** The real step under another plan than the one that counts. */
function withPlan(change: (state: EngineState) => EnginePlan): Partial<Engine> {
  return {
    step: (state, inputs, now) => {
      const result = step({ ...state, plan: change(state) }, inputs, now)
      return { ...result, state: { ...result.state, plan: state.plan } }
    },
  }
}

/** Whether the plan would leave room for one more start. */
function startable(plan: EnginePlan, state: EngineState): boolean {
  return roomOf({ ...state, plan }).room > 0
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
    caughtBy: ["I1", "I25"],
    engine: {
      step: (state, inputs, now) => {
        const result = step({ ...state, width: state.width + 1 }, inputs, now)
        return { ...result, state: { ...result.state, width: result.state.width - 1 } }
      },
    },
  },
  "the run stops at the limit instead of above it": { caughtBy: ["I2", "I14"], engine: { step: withErrorsMax(-1) } },
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
  "a repeated report is counted twice": {
    caughtBy: ["I7"],
    engine: spoil((result) => {
      const again = result.ignored.find(({ input, why }) => why === "ended" && input.type === "task-finished")?.input
      if (again?.type !== "task-finished" || again.outcome.state !== "failed") return result
      const { counts } = result.state
      return { ...result, state: { ...result.state, counts: { ...counts, failed: counts.failed + 1 } } }
    }),
  },
  "a new owner gives nodes no time to find it": {
    caughtBy: ["I19"],
    engine: {
      recoverState: (plan, rows, now) => {
        const result = recoverState({ ...plan, reconnectMilliseconds: 0 }, rows, now)
        return { ...result, state: { ...result.state, plan } }
      },
    },
  },
  "a node that was touched is not put back": {
    caughtBy: ["I29", "I10", "I14"],
    engine: {
      step: (state, inputs, now) => {
        const result = step({ ...state, plan: { ...state.plan, rollbackOnFailure: false } }, inputs, now)
        return { ...result, state: { ...result.state, plan: state.plan } }
      },
    },
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
    caughtBy: ["I9", "I14"],
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
  "a percentage of a wave is rounded up": {
    caughtBy: ["I17"],
    engine: {
      resolveWaves: (sizes, n) =>
        resolveWaves(
          sizes.map((size) => (typeof size === "string" ? Math.ceil((Number.parseInt(size, 10) * n) / 100) : size)),
          n,
        ),
    },
  },
  "interleaving loses a target": {
    caughtBy: ["I24"],
    engine: { interleaveByDomain: (domains) => interleaveByDomain(domains).fill(0, 0, 1) },
  },
  "the ramp counts who ended, not who succeeded": {
    caughtBy: ["I20"],
    engine: withPlan(({ plan, counts }) => {
      const { failed, unreachable } = counts
      return { ...plan, ...(plan.ramp && failed + unreachable > 0 && { ramp: false }) }
    }),
  },
  "the ramp is ignored": { caughtBy: ["I20"], engine: withPlan(({ plan }) => ({ ...plan, ramp: false })) },
  "the end of a wave is no gate": {
    caughtBy: ["I21"],
    engine: withPlan(({ plan }) => ({ ...plan, ...(plan.waves && { waves: [plan.targetsCount] }) })),
  },
  "no bake between waves": { caughtBy: ["I21"], engine: withPlan(({ plan }) => ({ ...plan, bakeMilliseconds: 0 })) },
  "a wave bakes while its rollbacks go on": {
    caughtBy: ["I21"],
    engine: {
      step: (state, inputs, now) => {
        const open = [...state.slots.values()]
        const back = open.length > 0 && open.every(({ rollback }) => rollback !== "none")
        if (!back || !isAtWaveEnd(state)) return step(state, inputs, now)
        return step({ ...state, wave: state.wave + 1 }, inputs, now)
      },
    },
  },
  "a recovery forgets the wave": {
    caughtBy: ["I14", "I21", "I25"],
    engine: {
      recoverState: (plan, rows, now) => {
        const result = recoverState(plan, rows, now)
        return { ...result, state: { ...result.state, wave: 1 } }
      },
    },
  },
  "who can't be put back counts as available": {
    caughtBy: ["I22", "I27"],
    engine: withPlan(({ plan, rollbacks }) => {
      const { unavailableMax } = plan
      const lost = rollbacks["not-reversible"] + rollbacks["rollback-failed"]
      return unavailableMax === undefined ? plan : { ...plan, unavailableMax: unavailableMax + lost }
    }),
  },
  "the limit of unavailable targets is ignored": {
    caughtBy: ["I22", "I27"],
    engine: withPlan(({ plan }) => ({ ...plan, unavailableMax: 1000 })),
  },
  "a run without room for another start waits for ever": {
    caughtBy: ["I27"],
    engine: {
      step: (state, inputs, now) => {
        const result = step(state, inputs, now)
        if (state.stop !== null || result.state.stop?.by !== "unavailable-limit") return result
        const plan = { ...state.plan, unavailableMax: 1000 }
        const waiting = step({ ...state, plan, hold: { reason: "for ever", until: null } }, inputs, now)
        return { ...waiting, state: { ...waiting.state, plan: state.plan, hold: null } }
      },
    },
  },
  "no strict bound": { caughtBy: ["I23"], engine: withPlan(({ plan }) => ({ ...plan, strict: false })) },
  "the strict bound is one too wide": {
    caughtBy: ["I23"],
    engine: {
      step: (state, inputs, now) => {
        if (!state.plan.strict || state.execution !== "running") return step(state, inputs, now)
        const started = startable({ ...state.plan, strict: false }, state)
        return started
          ? step({ ...state, plan: { ...state.plan, strict: false } }, inputs, now)
          : step(state, inputs, now)
      },
    },
  },
  "domains are ignored": { caughtBy: ["I24"], engine: withPlan(({ plan }) => ({ ...plan, domainWidth: 1000 })) },
  "a domain's place is free once its task has ended, though it is being put back": {
    caughtBy: ["I24", "I14"],
    engine: {
      step: (state, inputs, now) => {
        const domains = new DomainCounts()
        for (const slot of state.slots.values()) {
          if (slot.rollback === "none") domains.add(state.plan.domains?.[slot.ordinal] ?? -1, 1)
        }
        return step(state.domains ? { ...state, domains } : state, inputs, now)
      },
    },
  },
  "a recovery forgets who is in flight in a domain": {
    caughtBy: ["I24", "I14"],
    engine: {
      recoverState: (plan, rows, now) => {
        const result = recoverState(plan, rows, now)
        return { ...result, state: { ...result.state, domains: plan.domains ? new DomainCounts() : null } }
      },
    },
  },
  "a change of the width is forgotten in a recovery": {
    caughtBy: ["I14", "I25"],
    engine: {
      recoverState: (plan, rows, now) => {
        return recoverState(
          plan,
          { ...rows, width: plan.width, settings: { width: plan.width, hold: rows.hold ?? null } },
          now,
        )
      },
    },
  },
  "a change of the width is told and not kept": {
    caughtBy: ["I25"],
    engine: spoil((result, before) => ({ ...result, state: { ...result.state, width: before.width } })),
  },
  "a hold is ignored": {
    caughtBy: ["I26", "I25"],
    engine: {
      step: (state, inputs, now) => {
        const result = step({ ...state, hold: null }, inputs, now)
        const held = result.state.stop === null ? (result.execution?.hold ?? state.hold) : null
        return { ...result, state: { ...result.state, hold: held } }
      },
    },
  },
  "a hold ends by itself at its time": {
    caughtBy: ["I26", "I25"],
    engine: {
      step: (state, inputs, now) => {
        const over = state.hold?.until !== null && (state.hold?.until ?? Infinity) < now
        const release = { type: "release-starts" } as const
        const result = step(state, over ? [release, ...inputs] : inputs, now)
        return { ...result, ignored: result.ignored.filter(({ input }) => input !== release) }
      },
    },
  },
  "a hold is forgotten in a recovery": {
    caughtBy: ["I14", "I26", "I25"],
    engine: {
      recoverState: (plan, rows, now) => {
        const { width } = rows.settings ?? plan
        return recoverState(plan, { ...rows, hold: null, settings: { width, hold: null } }, now)
      },
    },
  },
  "limits by class are ignored": {
    caughtBy: ["I27"],
    engine: withPlan(({ plan }) => ({ ...plan, errorsMaxByClass: {} })),
  },
  "a timeout counts as a failed command": {
    caughtBy: ["I7", "I27"],
    engine: spoil((result) => {
      const { classes } = result.state
      const counted = { ...classes, command: classes.command + classes.timeout, timeout: 0 }
      return { ...result, state: { ...result.state, classes: counted } }
    }),
  },
  "the error rate is taken of all targets": {
    caughtBy: ["I27"],
    engine: withPlan(({ plan, counts }) => {
      const { errorRate } = plan
      const ended = plan.targetsCount - counts.queued
      if (!errorRate || ended === 0) return plan
      return { ...plan, errorRate: { ...errorRate, sampleMin: plan.targetsCount } }
    }),
  },
  "the error rate has no smallest sample": {
    caughtBy: ["I27"],
    engine: withPlan(({ plan }) =>
      plan.errorRate ? { ...plan, errorRate: { ...plan.errorRate, sampleMin: 1 } } : plan,
    ),
  },
  "a condition that throws is taken for false": {
    caughtBy: ["I27"],
    engine: withPlan(({ plan }) => {
      const { stopWhen } = plan
      if (!stopWhen) return plan
      const test: StopCondition["test"] = (counts) => {
        try {
          return stopWhen.test(counts)
        } catch {
          return false
        }
      }
      return { ...plan, stopWhen: { ...stopWhen, test } }
    }),
  },
  "a stop by itself does not kill though it should": {
    caughtBy: ["I27"],
    engine: withPlan(({ plan }) => ({ ...plan, stopMode: "finish" })),
  },
  "retries come at once": {
    caughtBy: ["I28"],
    engine: withPlan(({ plan }) => ({ ...plan, retryDelayMilliseconds: 0 })),
  },
  "the delay of a retry does not grow": {
    caughtBy: ["I28"],
    engine: withPlan(({ plan }) => ({ ...plan, retryBackoffFactor: 1 })),
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
