import type { SeededRandom } from "@signalbox/engine/simulator/seeded-random"
import { TestWorld } from "../approval-run.fixture.ts"
import type { Identity, LevelRule, MemberRule, TemplateRule, VotingStrategy } from "../template-rules.ts"
import type { Requester } from "../types.ts"

const hour = 3_600_000

export const requester: Requester = {
  key: "req",
  name: "Requester",
  keys: ["req", "mailto:req@example.com"],
  teams: ["blue"],
  roles: ["operator"],
}
export const submitter: Identity = { key: "sub", keys: ["sub"], teams: [] }

const names = [
  "ann",
  "bob",
  "cleo",
  "dan",
  "eve",
  "req",
  "sub",
  "mailto:req@example.com",
  "mailto:fay@example.com",
] as const
export const groupNames = ["g1", "g2", "g3"] as const

/** Everybody who acts; `zoe` is nobody's member. */
export function personsOf(random: SeededRandom): readonly [Identity, ...Identity[]] {
  const others = [...names, "zoe"].filter((key) => key !== "req" && key !== "sub")
  const persons = others.map((key) => ({
    key,
    keys: [key],
    teams: random.chance(0.2) ? ["blue"] : random.chance(0.3) ? ["red"] : [],
  }))
  return [requester, submitter, ...persons]
}

export interface Scenario {
  readonly world: TestWorld
  readonly persons: readonly [Identity, ...Identity[]]
  readonly rule: TemplateRule
  /** Null: the request begins unmatched. */
  readonly unmatched: "refuse" | "wait" | "approve" | null
}

function strategyOf(random: SeededRandom): VotingStrategy {
  return random.pick<VotingStrategy>([
    { kind: "first-response" },
    { kind: "any" },
    { kind: "all" },
    { kind: "all" },
    { kind: "majority" },
    { kind: "majority" },
    { kind: "quorum", count: random.integer(2, 6) },
    { kind: "percentage", percent: random.pick([1, 33.333, 34, 50, 51, 75, 100]) },
  ])
}

function levelOf(random: SeededRandom, number: number): LevelRule {
  const some = <T>(probability: number, value: T): T | undefined => (random.chance(probability) ? value : undefined)
  const expiresAfter = random.integer(10, 100) * hour
  const reject = some(0.25, random.pick([{ count: 1 }, { count: 2 }, { percent: 33.333 }, { percent: 50 }]))
  const reminders = some(0.4, { everyMilliseconds: random.integer(3, 40) * hour, max: random.integer(1, 4) })
  const after = random.integer(1, expiresAfter / hour - 1) * hour
  const group = some(0.7, random.pick(groupNames))
  const escalation = some(0.5, {
    afterMilliseconds: after,
    ...(group && { group }),
    ...(random.chance(0.3) && { jump: true }),
  })
  return {
    name: `level-${number}`,
    group: random.pick(groupNames),
    strategy: strategyOf(random),
    expiresAfterMilliseconds: expiresAfter,
    veto: random.pick(["none", "none", "none", "marked", "any"]),
    selfApproval: random.chance(0.15),
    sameTeam: random.pick(["allowed", "allowed", "barred"]),
    abstention: random.chance(0.8),
    preNotice: random.chance(0.7),
    ...(reject && { reject }),
    ...(reminders && { reminders }),
    ...(escalation && { escalation }),
  }
}

export function memberOf(random: SeededRandom, person: Identity): MemberRule {
  return {
    ...person,
    weight: random.chance(0.3) ? random.integer(2, 4) : 1,
    veto: random.chance(0.2),
    disabled: random.chance(0.05),
  }
}

export function makeScenario(random: SeededRandom, now: number): Scenario {
  const persons = personsOf(random)
  const world = new TestWorld()
  world.now = now
  for (const name of groupNames) {
    const members = persons
      .filter(({ key }) => key !== "zoe" && random.chance(0.5))
      .map((person) => memberOf(random, person))
    world.groups.set(name, { name, members })
  }
  for (const { key } of persons) {
    if (!random.chance(0.3)) continue
    const until = now + random.integer(1, 100) * hour
    world.delegations.set(key, [{ to: random.chance(0.8) ? random.pick(persons) : null, from: 0, until }])
  }
  const levels = Array.from({ length: random.integer(1, 3) }, (_, index) => levelOf(random, index + 1))
  const rule: TemplateRule = {
    levels,
    ...(random.chance(0.2) && { approveWhen: "request.content.auto == 'approve'" }),
    ...(random.chance(0.2) && { denyWhen: "request.content.auto == 'deny'" }),
    ...(random.chance(0.4) && { keepVotesWhen: "after.keep" }),
    ...(random.chance(0.4) && { onExpiry: "approve" as const }),
  }
  const unmatched = random.chance(0.1) ? random.pick(["refuse", "wait", "wait", "approve"] as const) : null
  return { world, persons, rule, unmatched }
}

/** `auto` is what the criteria look at, where it is there; `keep` whether an edit to this content keeps votes. */
export interface Content {
  readonly n: number
  readonly keep: boolean
  readonly auto?: "approve" | "deny" | "none"
}

export function contentOf(random: SeededRandom, n: number): Content {
  const auto = random.pick(["approve", "deny", "none", "none", "none", "none", "absent", "absent"] as const)
  return { n, keep: random.chance(0.5), ...(auto !== "absent" && { auto }) }
}
