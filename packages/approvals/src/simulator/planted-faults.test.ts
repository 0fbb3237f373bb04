import { describe, expect, test } from "vitest"
import { decide } from "../decide.ts"
import { indexAssociations, matchAssociation } from "../match-association.ts"
import { nextTimerAt } from "../next-timer-at.ts"
import type { LevelRule, TemplateRule } from "../template-rules.ts"
import type { Decision, Input, LevelState, RequestState, Seat, World } from "../types.ts"
import { realCore, type ApprovalCore } from "./approval-core.fixture.ts"
import { simulate } from "./simulation.fixture.ts"

/** A fault is found within this many requests, or the simulator is too weak. */
const schedulesMax = 1500

interface Fault {
  /** The invariants that may be the first to notice. */
  readonly caughtBy: readonly string[]
  readonly core: Partial<ApprovalCore>
}

type Decide = Pick<ApprovalCore, "decide">
type Accepted = Extract<Decision, { outcome: "accepted" }>

/** The real decision of another input than was sent. */
function withInput(change: (input: Input, state: RequestState | null, world: World) => Input): Decide {
  return { decide: (state, input, world) => decide(state, change(input, state, world), world) }
}

/** The real decision with its result changed afterwards. */
function spoil(change: (result: Accepted, before: RequestState | null, input: Input) => Accepted): Decide {
  return {
    decide: (state, input, world) => {
      const result = decide(state, input, world)
      return result.outcome === "accepted" ? change(result, state, input) : result
    },
  }
}

/** The real decision in another directory than there is. */
function withWorld(change: (world: World, state: RequestState | null) => Partial<World>): Decide {
  return {
    decide: (state, input, world) => {
      const { now, calendarOpen } = world
      const real = {
        now,
        calendarOpen,
        findGroup: (name: string) => world.findGroup(name),
        delegationsOf: (key: string) => world.delegationsOf(key),
      }
      return decide(state, input, { ...real, ...change(world, state) })
    },
  }
}

/** The real decision by other rules than the request's. */
function withRule(
  change: (rule: LevelRule, level: LevelState | undefined) => LevelRule,
  more: Partial<TemplateRule> = {},
): Decide {
  const changed = (rule: TemplateRule, levels: readonly LevelState[]): TemplateRule => ({
    ...rule,
    ...more,
    levels: rule.levels.map((each, index) => change(each, levels[index])),
  })
  const inputOf = (input: Input): Input =>
    (input.type === "submit" || input.type === "match") && input.template
      ? { ...input, template: { ...input.template, rule: changed(input.template.rule, []) } }
      : input
  return {
    decide: (state, input, world) => {
      const template = state?.template
      const before =
        state && template ? { ...state, template: { ...template, rule: changed(template.rule, state.levels) } } : state
      const result = decide(before, inputOf(input), world)
      if (result.outcome === "refused" || !result.state.template) return result
      const own = template ?? (input.type === "submit" || input.type === "match" ? input.template : null)
      return { ...result, state: { ...result.state, template: own } }
    },
  }
}

function mapSeats(state: RequestState, change: (seat: Seat) => Seat): RequestState {
  return { ...state, levels: state.levels.map((level) => ({ ...level, seats: level.seats.map(change) })) }
}

function mapLevel(state: RequestState, change: (level: LevelState) => LevelState): RequestState {
  return { ...state, levels: state.levels.map((level, index) => (index === state.level - 1 ? change(level) : level)) }
}

const isOpen = (state: RequestState | null): state is RequestState =>
  state?.state === "open" || state?.state === "asking"

/** Whole numbers of a level's seats, as the wrong counts below need them. */
function weightIn(level: LevelState | undefined): number {
  const seats = level?.seats.filter(({ state }) => state !== "barred" && state !== "abstained") ?? []
  return seats.reduce((sum, { weight }) => sum + weight, 0)
}

const { decide: withoutEscalationGroups } = withRule((rule) => {
  if (!rule.escalation) return rule
  const { group: _, ...escalation } = rule.escalation
  return { ...rule, escalation }
})

const faults: Readonly<Record<string, Fault>> = {
  "a percentage is rounded down": {
    caughtBy: ["V4", "V7"],
    core: withRule((rule, level) => {
      if (rule.strategy.kind !== "percentage" || weightIn(level) === 0) return rule
      const count = Math.max(1, Math.floor((rule.strategy.percent * weightIn(level)) / 100))
      return { ...rule, strategy: { kind: "quorum", count } }
    }),
  },
  "half is a majority": {
    caughtBy: ["V4", "V7"],
    core: withRule((rule) =>
      rule.strategy.kind === "majority" ? { ...rule, strategy: { kind: "percentage", percent: 50 } } : rule,
    ),
  },
  "the requester's vote counts": {
    caughtBy: ["V13", "V21"],
    core: withRule((rule) => ({ ...rule, selfApproval: true })),
  },
  "the requester's own mailbox counts": {
    caughtBy: ["V13", "V21"],
    core: withInput((input) =>
      input.type === "submit" ? { ...input, requester: { ...input.requester, keys: [input.requester.key] } } : input,
    ),
  },
  "who sent the request for somebody else may approve it": {
    caughtBy: ["V13", "V21"],
    core: withInput((input) => (input.type === "submit" ? { ...input, submitter: input.requester } : input)),
  },
  "the requester's team counts": {
    caughtBy: ["V13", "V21"],
    core: withRule((rule) => ({ ...rule, sameTeam: "allowed" })),
  },
  "a vote on another content counts": {
    caughtBy: ["V3"],
    core: withInput((input, state) => (input.type === "vote" && state ? { ...input, digest: state.digest } : input)),
  },
  "a vote for a level that is over counts for the next one": {
    caughtBy: ["V2"],
    core: withInput((input) => {
      if (input.type !== "vote") return input
      const { level: _, ...rest } = input
      return rest
    }),
  },
  "the clocks run while a question is open": {
    caughtBy: ["V18", "V6"],
    core: spoil((result, before, input) => {
      const timers = before?.levels[before.level - 1]?.timers
      if (input.type !== "answer" || !timers || result.state.state !== "open") return result
      return { ...result, state: mapLevel(result.state, (level) => ({ ...level, timers: level.timers && timers })) }
    }),
  },
  "a level expires while a question is open": {
    caughtBy: ["V6", "V18", "V20"],
    core: {
      decide: (state, input, world) => {
        const isDue = state?.state === "asking" && input.type === "timer"
        return decide(isDue ? { ...state, state: "open", questions: [] } : state, input, world)
      },
    },
  },
  "a vote after the end changes the result": {
    caughtBy: ["V1"],
    core: {
      decide: (state, input, world) => {
        const ended = state?.outcome && input.type === "vote" && input.choice === "deny" && state.state === "approved"
        if (!ended) return decide(state, input, world)
        return { outcome: "accepted", state: { ...state, state: "denied" }, effects: [] }
      },
    },
  },
  "a vote after the level's time is accepted while nobody has looked at the timer": {
    caughtBy: ["V18"],
    core: {
      decide: (state, input, world) => {
        if (!isOpen(state) || input.type !== "vote") return decide(state, input, world)
        const due = nextTimerAt(state) ?? Infinity
        return (
          withWorld(() => ({ now: Math.min(world.now, due - 1) })).decide?.(state, input, world) ??
          decide(state, input, world)
        )
      },
    },
  },
  "the vote of a member who was removed counts": {
    caughtBy: ["V2", "V5", "V4", "V7"],
    core: withWorld((world, state) => ({
      findGroup: (name) => {
        const group = world.findGroup(name)
        const pinned = state?.levels[state.level - 1]?.seats.filter(({ groups }) => groups.includes(name)) ?? []
        const missing = pinned.filter(
          ({ key }) => !group?.members.some((member) => member.key === key && member.disabled !== true),
        )
        const kept = group?.members.filter(({ key }) => !missing.some((seat) => seat.key === key)) ?? []
        return { name, members: [...kept, ...missing.map(({ key }) => ({ key, keys: [key], teams: [] }))] }
      },
    })),
  },
  "who was removed leaves the base": {
    caughtBy: ["V2", "V4", "V7", "V11", "V12"],
    core: {
      decide: (state, input, world) => {
        if (!isOpen(state)) return decide(state, input, world)
        const gone = (seat: Seat): boolean =>
          !seat.groups.some((name) =>
            world.findGroup(name)?.members.some(({ key, disabled }) => key === seat.key && disabled !== true),
          )
        return decide(
          mapLevel(state, (level) => ({ ...level, seats: level.seats.filter((seat) => !gone(seat)) })),
          input,
          world,
        )
      },
    },
  },
  "of two associations that fit equally the first one wins": {
    caughtBy: ["V22"],
    core: { findTie: () => undefined },
  },
  "the last association that fits wins": {
    caughtBy: ["V22"],
    core: {
      matchAssociation: (index, attributes) => {
        const shapes = index.shapes.toReversed()
        return matchAssociation({ ...index, shapes }, attributes)
      },
    },
  },
  "operation patterns are not looked at": {
    caughtBy: ["V22"],
    core: { matchAssociation: (_, attributes) => matchAssociation(indexAssociations([]), attributes) },
  },
  "an escalation fires twice": {
    caughtBy: ["V11"],
    core: spoil((result) => {
      const { state } = result
      const rule = state.template?.rule.levels[state.level - 1]
      const again = state.state === "open" && rule?.escalation
      if (!again) return result
      const changed = mapLevel(state, (level) =>
        level.escalated && level.timers && level.timers.escalatesAt === null
          ? { ...level, timers: { ...level.timers, escalatesAt: level.timers.expiresAt - 1 } }
          : level,
      )
      return { ...result, state: changed }
    }),
  },
  "an escalation takes the seats' place": {
    caughtBy: ["V2", "V5", "V11", "V7", "V4"],
    core: spoil((result, before) => {
      const was = before?.levels[before.level - 1]?.escalated ?? true
      const is = result.state.levels[result.state.level - 1]?.escalated
      if (was || !is || !isOpen(result.state)) return result
      return {
        ...result,
        state: mapLevel(result.state, (level) => ({
          ...level,
          seats: level.seats.filter(({ escalation }) => escalation),
        })),
      }
    }),
  },
  "an escalation jumps past the last level": {
    caughtBy: ["V4"],
    core: spoil((result) => {
      const { state } = result
      const rule = state.template?.rule.levels[state.level - 1]
      const isLast = state.level === state.levels.length
      const fired = result.effects.some(
        (effect) => effect.type === "event" && effect.name === "approval-request.escalated",
      )
      if (!isOpen(state) || !isLast || rule?.escalation?.jump !== true || !fired) return result
      const outcome = { result: "approved", reason: "votes", level: state.level } as const
      const data = { digest: state.digest, reason: "votes", level: state.level } as const
      return {
        ...result,
        state: { ...state, state: "approved", outcome, endedAt: 0 },
        effects: [...result.effects, { type: "event", name: "approval-request.approved", data }],
      }
    }),
  },
  "what an escalation would add is not counted": {
    caughtBy: ["V7"],
    core: {
      decide: (state, input, world) => {
        const escalatesAt = state?.levels[state.level - 1]?.timers?.escalatesAt ?? 0
        const isUnfired = input.type === "vote" && escalatesAt > world.now
        return (isUnfired ? withoutEscalationGroups : decide)(state, input, world)
      },
    },
  },
  "an edit leaves the votes": {
    caughtBy: ["V3", "V5"],
    core: withRule((rule) => rule, { keepVotesWhen: "true" }),
  },
  "an edit never keeps votes": {
    caughtBy: ["V5"],
    core: withRule((rule) => rule, { keepVotesWhen: "false" }),
  },
  "an edit goes on at the level in hand": {
    caughtBy: ["V3", "V4", "V5"],
    core: spoil((result, before, input) => {
      if (input.type !== "edit" || !isOpen(before) || before.level < 2 || !isOpen(result.state)) return result
      const { level, levels } = before
      return { ...result, state: { ...result.state, level, levels } }
    }),
  },
  "a denial anywhere is forgotten": {
    caughtBy: ["V7"],
    core: withRule((rule) => {
      const { reject: _, ...rest } = rule
      return rest
    }),
  },
  "a veto is a vote like others": {
    caughtBy: ["V7"],
    core: withRule((rule) => ({ ...rule, veto: "none" })),
  },
  "everybody's denial is a veto": {
    caughtBy: ["V7"],
    core: withRule((rule) => ({ ...rule, veto: "any" })),
  },
  "weights do not count": {
    caughtBy: ["V4", "V7", "V11"],
    core: spoil((result) => ({ ...result, state: mapSeats(result.state, (seat) => ({ ...seat, weight: 1 })) })),
  },
  "an abstention is a yes": {
    caughtBy: ["V9"],
    core: withInput((input) =>
      input.type === "vote" && input.choice === "abstain" ? { ...input, choice: "approve" } : input,
    ),
  },
  "abstention is always possible": {
    caughtBy: ["V9"],
    core: withRule((rule) => ({ ...rule, abstention: true })),
  },
  "a template edit reaches requests under way": {
    caughtBy: ["V15"],
    core: spoil((result, before) =>
      before?.template && result.state.template
        ? { ...result, state: { ...result.state, template: { ...result.state.template, version: 2 } } }
        : result,
    ),
  },
  "members join an open level": {
    caughtBy: ["V2", "V21"],
    core: {
      decide: (state, input, world) => {
        if (!isOpen(state) || input.type !== "member-removed") return decide(state, input, world)
        const known = mapLevel(state, (level) => {
          const rule = state.template?.rule.levels[state.level - 1]
          const added = world
            .findGroup(rule?.group ?? "")
            ?.members.filter(({ key }) => !level.seats.some((seat) => seat.key === key))
          const [model] = level.seats
          if (!model || !added) return level
          const blank = { ...model, state: "waiting", bar: null, vote: null, delegate: null } as const
          return { ...level, seats: [...level.seats, ...added.map(({ key }) => ({ ...blank, key }))] }
        })
        return decide(known, input, world)
      },
    },
  },
  "a delegate's delegate answers too": {
    caughtBy: ["V14", "V21"],
    core: withWorld((world) => ({
      delegationsOf: (key) =>
        world.delegationsOf(key).flatMap((one) => {
          const [next] = one.to ? world.delegationsOf(one.to.key) : []
          return [next?.to ? { ...one, to: next.to } : one]
        }),
    })),
  },
  "a delegation has no end": {
    caughtBy: ["V14", "V21"],
    core: withWorld((world) => ({
      delegationsOf: (key) => world.delegationsOf(key).map((each) => ({ ...each, until: Infinity })),
    })),
  },
  "a delegate speaks over the member": {
    caughtBy: ["V14"],
    core: {
      decide: (state, input, world) => {
        if (!isOpen(state) || input.type !== "vote") return decide(state, input, world)
        const by = { key: "somebody" }
        return decide(
          mapSeats(state, (seat) => (seat.vote ? { ...seat, vote: { ...seat.vote, by } } : seat)),
          input,
          world,
        )
      },
    },
  },
  "the default approves what could not be evaluated": {
    caughtBy: ["V17"],
    core: spoil((result) => ({ ...result, state: { ...result.state, criteriaFault: null } })),
  },
  "the default is always approval": {
    caughtBy: ["V17"],
    core: withRule((rule) => rule, { onExpiry: "approve" }),
  },
  "approval goes before denial": {
    caughtBy: ["V17"],
    core: withRule((rule) => rule, { approveWhen: "true" }),
  },
  "a reminder comes too early": {
    caughtBy: ["V18"],
    core: withRule((rule) =>
      rule.reminders
        ? { ...rule, reminders: { ...rule.reminders, everyMilliseconds: rule.reminders.everyMilliseconds - 1 } }
        : rule,
    ),
  },
  "reminders never end": {
    caughtBy: ["V19"],
    core: withRule((rule) => (rule.reminders ? { ...rule, reminders: { ...rule.reminders, max: 20 } } : rule)),
  },
  "a level expires a millisecond too early": {
    caughtBy: ["V18"],
    core: withRule((rule) => ({ ...rule, expiresAfterMilliseconds: (rule.expiresAfterMilliseconds ?? 0) - 1 })),
  },
  "a level expires a millisecond too late": {
    caughtBy: ["V18"],
    core: withRule((rule) => ({ ...rule, expiresAfterMilliseconds: (rule.expiresAfterMilliseconds ?? 0) + 1 })),
  },
  "the next timer is forgotten": {
    caughtBy: ["V18"],
    core: { nextTimerAt: (state) => (state.state === "asking" ? null : nextTimerAt(state)) },
  },
  "nobody is told that it is their turn": {
    caughtBy: ["V21"],
    core: spoil((result) => ({
      ...result,
      effects: result.effects.filter((effect) => effect.type !== "notice" || effect.kind !== "decide"),
    })),
  },
  "the requester is called to vote": {
    caughtBy: ["V21"],
    core: spoil((result) => ({
      ...result,
      effects: result.effects.map((effect) =>
        effect.type === "notice" && effect.kind === "decide"
          ? { ...effect, to: [...effect.to, { person: { key: "req" }, seat: "req" }] }
          : effect,
      ),
    })),
  },
  "a vote has the number of the one before": {
    caughtBy: ["V9"],
    core: spoil((result) => ({
      ...result,
      effects: result.effects.map((effect) =>
        effect.type === "event" && effect.name === "approval-request.voted" && effect.data.number > 1
          ? { ...effect, data: { ...effect.data, number: effect.data.number - 1 } }
          : effect,
      ),
    })),
  },
  "a decision changes the state that it was given": {
    caughtBy: ["V20"],
    core: {
      decide: (state, input, world) => {
        const result = decide(state, input, world)
        if (state && result.outcome === "accepted") Object.assign(state, { votesCount: result.state.votesCount })
        return result
      },
    },
  },
}

function firstFailure(core: ApprovalCore): { invariant: string; message: string; seed: number } | undefined {
  for (let seed = 1; seed <= schedulesMax; seed++) {
    const { failure } = simulate(seed, { core })
    if (failure) return { invariant: failure.invariant, message: failure.message, seed }
  }
  return undefined
}

describe("a planted fault is noticed", () => {
  for (const [name, { caughtBy, core }] of Object.entries(faults)) {
    test(`${name} (${caughtBy.join(", ")})`, () => {
      const found = firstFailure({ ...realCore, ...core })
      expect(found, `nothing in ${schedulesMax} requests`).toBeDefined()
      expect(caughtBy, found?.message).toContain(found?.invariant)
    })
  }
})
