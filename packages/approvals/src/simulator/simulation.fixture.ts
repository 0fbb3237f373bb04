import { SeededRandom } from "@signalbox/engine/simulator/seeded-random"
import { listWaits } from "../list-waits.ts"
import { isRequestEnded } from "../request-machine.ts"
import { selectorFields, indexAssociations, type Association, type Selector } from "../match-association.ts"
import type { Identity, PinnedTemplate } from "../template-rules.ts"
import type { Decision, Input, RequestState } from "../types.ts"
import { hold, InvariantError, realCore, type ApprovalCore } from "./approval-core.fixture.ts"
import {
  contentOf,
  groupNames,
  makeScenario,
  memberOf,
  requester,
  submitter,
  type Content,
  type Scenario,
} from "./scenario.fixture.ts"
import { Shadow } from "./shadow.fixture.ts"

const hour = 3_600_000
const inputsMax = 60
const silentTurnsMax = 200

export interface SimulationReport {
  readonly seed: number
  /** State and reason, such as `approved by votes`. */
  readonly end: string
  readonly inputsCount: number
  /** How often each input was accepted, and each code refused. */
  readonly tallies: ReadonlyMap<string, number>
  readonly failure: InvariantError | null
  readonly trace: readonly string[]
}

/** Plays one request from its submission to its end, watched by a shadow that keeps books of its own. */
export function simulate(seed: number, options: { core?: ApprovalCore; trace?: boolean } = {}): SimulationReport {
  const play = new Play(seed, options.core ?? realCore, options.trace ?? false)
  let failure: InvariantError | null = null
  try {
    play.run()
  } catch (error) {
    if (!(error instanceof Error)) throw error
    // An assertion of the code under test is a broken promise too.
    failure = error instanceof InvariantError ? error : new InvariantError("V20", `${error.name}: ${error.message}`)
  }
  const { state, inputsCount, tallies, trace } = play
  const end = state?.outcome ? `${state.state} by ${state.outcome.reason}` : "none"
  return { seed, end, inputsCount, tallies, failure, trace }
}

class Play {
  readonly #random: SeededRandom
  readonly #core: ApprovalCore
  readonly #scenario: Scenario
  readonly #shadow: Shadow
  readonly #isTraced: boolean
  readonly trace: string[] = []
  readonly tallies = new Map<string, number>()
  state: RequestState | null = null
  inputsCount = 0
  #content: Content
  #contentsCount = 1
  #digestBefore = "d0"

  constructor(seed: number, core: ApprovalCore, isTraced: boolean) {
    this.#random = new SeededRandom(seed)
    this.#core = core
    this.#isTraced = isTraced
    this.#scenario = makeScenario(this.#random, 1_800_000_000_000)
    this.#shadow = new Shadow(this.#scenario)
    this.#content = contentOf(this.#random, 1)
    if (isTraced) this.trace.push(JSON.stringify(this.#scenario.rule))
  }

  run(): void {
    checkAssociations(this.#core, this.#random)
    this.#send(this.#submit())
    const count = this.#random.integer(3, inputsMax)
    for (let turn = 0; turn < count; turn++) {
      if (this.#random.chance(0.15)) this.#changeDirectory()
      if (this.#random.chance(0.2)) this.#passTime()
      this.#send(this.#nextInput())
      if (this.#shadow.isEnded) break
    }
    for (let turn = 0; this.#shadow.isEnded && turn < 3; turn++) this.#send(this.#nextInput())
    this.#fallSilent()
  }

  /** Nobody does anything any more: timers alone end every request. */
  #fallSilent(): void {
    for (let turn = 0; turn < silentTurnsMax; turn++) {
      const { state } = this
      if (!state || isRequestEnded(state.state)) return
      const at = this.#core.nextTimerAt(state)
      hold(at !== null, "V18", `nothing is waited for while ${state.state}`)
      this.#scenario.world.now = Math.max(this.#scenario.world.now, at)
      this.#send({ type: "timer" })
    }
    hold(false, "V19", "the request never ends")
  }

  #send(input: Input): void {
    this.inputsCount += 1
    const { world } = this.#scenario
    const before = this.state
    const text = JSON.stringify(before)
    const due = before && this.#core.nextTimerAt(before)
    const decision = this.#core.decide(before, input, world)
    const again = this.#core.decide(JSON.parse(text) as RequestState | null, input, world)
    this.#note(input, decision)
    hold(JSON.stringify(before) === text, "V20", "a decision changed the state that it was given")
    hold(JSON.stringify(decision) === JSON.stringify(again), "V20", "the same input gives another decision")
    this.#shadow.check(before, input, decision)
    if (decision.outcome === "accepted") {
      this.state = decision.state
      this.#checkTimer(input, due, decision)
      if (input.type === "edit" && decision.state.digest === input.digest) this.#content = contentIn(input.after)
    }
    if (this.state) this.#shadow.checkEnd(this.state)
  }

  /** A timer does nothing before its time, and leaves nothing due behind. */
  #checkTimer(input: Input, due: number | null, { state, effects }: Extract<Decision, { outcome: "accepted" }>): void {
    const { now } = this.#scenario.world
    const next = this.#core.nextTimerAt(state)
    hold((next === null) === isRequestEnded(state.state), "V18", `${state.state} with a timer at ${next}`)
    hold(next === null || next > now, "V18", "something due was left behind")
    if (input.type !== "timer" || due === null || due <= now) return
    const events = effects.flatMap((effect) => (effect.type === "event" ? [effect.name] : []))
    hold(
      events.every((name) => name === "approval-request.denied"),
      "V18",
      `${events.join()} before its time`,
    )
  }

  #note(input: Input, decision: Decision): void {
    const answer = decision.outcome === "accepted" ? "accepted" : decision.code
    const name = decision.outcome === "accepted" ? input.type : answer
    this.tallies.set(name, (this.tallies.get(name) ?? 0) + 1)
    if (!this.#isTraced) return
    const { now } = this.#scenario.world
    const state = decision.outcome === "accepted" ? `${decision.state.state} at ${decision.state.level}` : ""
    this.trace.push(`${(now - 1_800_000_000_000) / hour}h ${JSON.stringify(input)} -> ${answer} ${state}`)
  }

  #template(): PinnedTemplate {
    return { name: "template", version: 1, rule: this.#scenario.rule }
  }

  #submit(): Input {
    const { unmatched } = this.#scenario
    return {
      type: "submit",
      digest: "d1",
      content: this.#content,
      attributes: { type: "test" },
      requester,
      submitter,
      template: unmatched === null ? this.#template() : null,
      unmatched: unmatched ?? "refuse",
    }
  }

  #person(): Identity {
    return this.#random.pick(this.#scenario.persons)
  }

  /** Mostly somebody whose turn it is. */
  #voter(): Identity {
    const [first, ...rest] = this.state ? listWaits(this.state).who : []
    if (!first || this.#random.chance(0.3)) return this.#person()
    const { person } = this.#random.pick([first, ...rest])
    return this.#scenario.persons.find(({ key }) => key === person.key) ?? this.#person()
  }

  /** Of what somebody saw: mostly the present content. */
  #seen(): string {
    const { digest = "d1" } = this.state ?? {}
    return this.#random.chance(0.1) ? this.#digestBefore : digest
  }

  #nextInput(): Input {
    const random = this.#random
    const kind = random.integer(1, 100)
    if (this.state?.state === "asking" && kind <= 20) return { type: "answer", actor: requester, text: "so" }
    const actor = random.chance(0.7) ? this.#person() : requester
    const level = random.chance(0.1) ? { level: random.integer(1, 3) } : {}
    if (kind <= 55) {
      const choice = random.pick(["approve", "approve", "approve", "deny", "abstain", "abstain"] as const)
      return { type: "vote", actor: this.#voter(), choice, digest: this.#seen(), via: "api", ...level }
    }
    if (kind <= 63) return { type: "ask", actor: this.#voter(), text: "why?", digest: this.#seen(), ...level }
    if (kind <= 69) return { type: "answer", actor, text: "so" }
    if (kind <= 75) return this.#edit(actor)
    if (kind <= 83) return { type: "delegate", actor: this.#voter(), to: random.chance(0.9) ? this.#person() : null }
    if (kind <= 90) return { type: "timer" }
    if (kind <= 91) return { type: "cancel", actor, asAdministrator: random.chance(0.5) }
    if (kind <= 93) {
      const content = this.#content
      return { type: "match", template: this.#template(), content, by: { key: "admin" } }
    }
    return random.chance(0.05) ? this.#submit() : { type: "member-removed" }
  }

  #edit(actor: Identity): Input {
    const before = this.#content
    if (this.#random.chance(0.8)) this.#contentsCount += 1
    this.#digestBefore = this.state?.digest ?? "d0"
    const after = contentOf(this.#random, this.#contentsCount)
    const digest = JSON.stringify(after) === JSON.stringify(before) ? this.#digestBefore : `d${JSON.stringify(after)}`
    return { type: "edit", actor, digest, before, after }
  }

  #passTime(): void {
    const { world } = this.#scenario
    const at = this.state && this.#core.nextTimerAt(this.state)
    const kind = this.#random.integer(1, 8)
    if (kind === 1 && at !== null) world.now = Math.max(world.now, at)
    else if (kind === 2 && at !== null) world.now = Math.max(world.now, at - 1)
    else if (kind === 3 && this.#random.chance(0.3)) world.now += this.#random.integer(1, 300) * hour
    else world.now += this.#random.integer(0, 5) * hour
  }

  #changeDirectory(): void {
    const random = this.#random
    const { world } = this.#scenario
    const { key } = this.#person()
    if (random.chance(0.4)) {
      const from = world.now + random.integer(-20, 20) * hour
      const to = random.chance(0.8) ? this.#person() : null
      world.delegations.set(key, random.chance(0.2) ? [] : [{ to, from, until: from + random.integer(1, 100) * hour }])
      return
    }
    const name = random.pick(groupNames)
    const members = world.findGroup(name)?.members ?? []
    const person = this.#person()
    const rest = members.filter((member) => member.key !== person.key)
    world.groups.set(name, { name, members: random.chance(0.6) ? rest : [...rest, memberOf(random, person)] })
  }
}

/** The simulator makes all contents itself. */
function contentIn(content: unknown): Content {
  return content as Content
}

const operations = ["nodes.drain", "nodes.remove", "executions.create"] as const

function matches(selector: Selector, attributes: Selector): boolean {
  return selectorFields.every((field) => {
    const [wanted, is] = [selector[field], attributes[field]]
    return (
      wanted === undefined || is === wanted || (wanted.endsWith("*") && is?.startsWith(wanted.slice(0, -1)) === true)
    )
  })
}

/** Associations made one after the other, ties refused: whatever comes, one of them alone is the most specific. */
function checkAssociations({ findTie, matchAssociation }: ApprovalCore, random: SeededRandom): void {
  const some = (value: string): string | undefined => (random.chance(0.3) ? value : undefined)
  const kept: Association[] = []
  for (let n = 0; n < 12; n++) {
    const [product, type] = [some(random.pick(["p", "q"])), some("t")]
    const operation = some(random.pick(["*", "nodes.*", ...operations]))
    const selector = { ...(product && { product }), ...(type && { type }), ...(operation && { operation }) }
    const association = { name: `a${n}`, selector }
    if (Object.keys(selector).length === 0) continue
    if (findTie(indexAssociations(kept), association) === undefined) kept.push(association)
  }
  const asked = { product: random.pick(["p", "q"]), type: "t", operation: random.pick(operations) }
  const fitting = kept.filter(({ selector }) => matches(selector, asked))
  const ranks = fitting.map(({ selector: { product, type, operation } }) => {
    const literal = operation === undefined ? 0 : operation.endsWith("*") ? operation.length : operation.length + 100
    return (product ? 100_000 : 0) + (type ? 10_000 : 0) + literal
  })
  const best = Math.max(...ranks)
  hold(ranks.filter((rank) => rank === best).length <= 1, "V22", "two associations match equally well")
  const expected = fitting[ranks.indexOf(best)]
  hold(matchAssociation(indexAssociations(kept), asked) === expected, "V22", "another association matched")
}
