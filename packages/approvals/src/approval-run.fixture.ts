import { assert } from "@signalbox/kernel/assert"
import { decide } from "./decide.ts"
import type { Delegation, GroupRule, Identity, LevelRule, MemberRule, TemplateRule } from "./template-rules.ts"
import type {
  ApprovalEventName,
  ApprovalEvents,
  Decision,
  Effect,
  Input,
  LevelState,
  NoticeKind,
  RequestState,
  Requester,
  Seat,
  VoteChoice,
  World,
} from "./types.ts"

export const hour = 3_600_000
export const day = 24 * hour
export const start = Date.UTC(2026, 10, 22)

export function who(key: string, teams: readonly string[] = []): Identity {
  return { key, name: key.toUpperCase(), keys: [key], teams }
}

export function member(key: string, more: Partial<MemberRule> = {}): MemberRule {
  return { ...who(key), ...more }
}

export function group(name: string, ...members: ReadonlyArray<string | MemberRule>): GroupRule {
  return { name, members: members.map((each) => (typeof each === "string" ? member(each) : each)) }
}

export function level(more: Partial<LevelRule> = {}): LevelRule {
  return { name: "one", group: "g1", strategy: { kind: "any" }, expiresAfterMilliseconds: 7 * day, ...more }
}

export const requester: Requester = { ...who("req", ["blue"]), roles: ["operator"] }

/** The directory, changed at will. */
export class TestWorld implements World {
  now = start
  calendarOpen = true
  readonly groups = new Map<string, GroupRule>()
  readonly delegations = new Map<string, readonly Delegation[]>()

  constructor(...groups: readonly GroupRule[]) {
    for (const each of groups) this.groups.set(each.name, each)
  }

  findGroup(name: string): GroupRule | undefined {
    return this.groups.get(name)
  }

  delegationsOf(key: string): readonly Delegation[] {
    return this.delegations.get(key) ?? []
  }
}

interface RunOptions {
  readonly template?: Omit<Partial<TemplateRule>, "levels">
  readonly submit?: Partial<Extract<Input, { type: "submit" }>>
}

/** One request, from `submit` on, in a world that the test changes. */
export class ApprovalRun {
  readonly world: TestWorld
  readonly effects: Effect[] = []
  state: RequestState

  constructor(world: TestWorld, levels: readonly LevelRule[] | null, { template, submit }: RunOptions = {}) {
    this.world = world
    const input: Input = {
      type: "submit",
      digest: "d1",
      content: { cost: 10 },
      attributes: { type: "purchase" },
      requester,
      submitter: requester,
      template: levels && { name: "t", version: 1, rule: { ...template, levels } },
      unmatched: "wait",
      ...submit,
    }
    const decision = decide(null, input, world)
    assert(decision.outcome === "accepted", "a submit is never refused")
    this.state = decision.state
    this.effects.push(...decision.effects)
  }

  decide(input: Input): Decision {
    const decision = decide(this.state, input, this.world)
    if (decision.outcome === "accepted") {
      this.state = decision.state
      this.effects.push(...decision.effects)
    }
    return decision
  }

  /** "accepted", or the code without its service. */
  do(input: Input): string {
    const decision = this.decide(input)
    return decision.outcome === "accepted" ? decision.outcome : decision.code.replace("approvals.", "")
  }

  vote(key: string | Identity, choice: VoteChoice = "approve", digest = this.state.digest): string {
    const actor = typeof key === "string" ? who(key) : key
    return this.do({ type: "vote", actor, choice, digest, via: "api" })
  }

  ask(key: string): string {
    return this.do({ type: "ask", actor: who(key), text: "why?", digest: this.state.digest })
  }

  answer(text = "because"): string {
    return this.do({ type: "answer", actor: requester, text })
  }

  edit(digest: string, before: unknown = { n: 1 }, after: unknown = { n: 2 }): string {
    return this.do({ type: "edit", actor: requester, digest, before, after })
  }

  cancel(): string {
    return this.do({ type: "cancel", actor: requester, asAdministrator: false })
  }

  delegate(key: string, to: string | null): string {
    return this.do({ type: "delegate", actor: who(key), to: to === null ? null : who(to) })
  }

  /** Time passes, and what is due fires. */
  wait(milliseconds: number): string {
    this.world.now += milliseconds
    return this.do({ type: "timer" })
  }

  level(number = this.state.level): LevelState {
    const found = this.state.levels[number - 1]
    assert(found !== undefined, `no level ${number}`)
    return found
  }

  seat(key: string, number = this.state.level): Seat {
    const found = this.level(number).seats.find((seat) => seat.key === key)
    assert(found !== undefined, `no seat ${key}`)
    return found
  }

  /** The request's state, with the level that is open or why it ended. */
  get is(): string {
    const { state, level, outcome } = this.state
    return outcome ? `${state} by ${outcome.reason}` : level === 0 ? state : `${state} at ${level}`
  }

  events<Name extends ApprovalEventName>(name: Name): ReadonlyArray<ApprovalEvents[Name]> {
    // An event's data go with its name, which a filter can't say.
    return this.effects.flatMap((each) => (each.type === "event" && each.name === name ? [each.data] : [])) as Array<
      ApprovalEvents[Name]
    >
  }

  /** Who was told, and in whose place: "ann", "bea for ann". */
  told(kind: NoticeKind): string[] {
    return this.effects.flatMap((effect) =>
      effect.type === "notice" && effect.kind === kind
        ? effect.to.map(({ person, seat }) =>
            seat === null || seat === person.key ? person.key : `${person.key} for ${seat}`,
          )
        : [],
    )
  }

  forget(): void {
    this.effects.length = 0
  }
}
