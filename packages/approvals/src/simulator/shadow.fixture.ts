/**
 * Watches a request from outside: what was sent, what was answered, and the directory, judged by its own books. It does
 * not look into the code that decides.
 */
import type { ApprovalEvent, Decision, Effect, Input, RequestState } from "../types.ts"
import { hold } from "./approval-core.fixture.ts"
import { requester, submitter, type Content, type Scenario } from "./scenario.fixture.ts"
import { isBarredBy, ShadowLevel, type ShadowSeat, type ShadowVote } from "./shadow-level.fixture.ts"

const questionExpiresAfter = 7 * 86_400_000
const ends = ["approved", "denied", "expired", "cancelled"]

type Accepted = Extract<Decision, { outcome: "accepted" }>
type EventOf<Name extends ApprovalEvent["name"]> = Extract<ApprovalEvent, { name: Name }>["data"]

export class Shadow {
  readonly #scenario: Scenario
  readonly #levels: ShadowLevel[]
  readonly #delegations = new Map<string, string>()
  #digest = ""
  #level = 0
  #votesCount = 0
  #isFaulty = false
  /** The state as it was when the request ended. */
  #ended: string | null = null
  #template: string | null = null
  /** Why a level may open although the one before it is not met. */
  #mayOpen: "jump" | "edit" | "first" | null = "first"
  #kept = new Map<string, ShadowVote>()

  constructor(scenario: Scenario) {
    this.#scenario = scenario
    const { levels } = scenario.rule
    this.#levels = levels.map((rule, index) => new ShadowLevel(rule, index === levels.length - 1, scenario.world))
  }

  get isEnded(): boolean {
    return this.#ended !== null
  }

  check(before: RequestState | null, input: Input, decision: Decision): void {
    if (this.#ended !== null) {
      hold(decision.outcome === "refused", "V1", `${input.type} was accepted after the end`)
      return
    }
    if (decision.outcome === "refused") return
    if (input.type === "submit") this.#digest = input.digest
    const { state, effects } = decision
    this.#current()?.forgetGone()
    for (const effect of effects) this.#follow(effect, input, decision)
    this.#checkCriteria(input, state)
    this.#checkState(state)
    this.#checkTemplate(state)
    this.#checkNotices(state, effects)
    if (before && input.type === "member-removed") this.#checkNoApproval(decision)
    if (ends.includes(state.state)) this.#ended = JSON.stringify(state)
  }

  /** A terminal state never changes. */
  checkEnd(state: RequestState): void {
    if (this.#ended !== null) hold(JSON.stringify(state) === this.#ended, "V1", "a request that had ended has changed")
  }

  #current(): ShadowLevel | undefined {
    return this.#levels[this.#level - 1]
  }

  #open(number: number): ShadowLevel {
    const level = this.#current()
    hold(level !== undefined && number === this.#level, "V2", `level ${number} is not the one that is open`)
    return level
  }

  #follow(effect: Effect, input: Input, decision: Accepted): void {
    if (effect.type !== "event") return
    switch (effect.name) {
      case "approval-request.level-opened":
        return this.#followOpening(effect.data)
      case "approval-request.voted":
        return this.#followVote(effect.data, input)
      case "approval-request.asked":
        this.#open(effect.data.level).askedAt = this.#scenario.world.now
        return
      case "approval-request.answered":
        return this.#followAnswer(effect.data)
      case "approval-request.edited":
        return this.#followEdit(effect.data, input)
      case "approval-request.reminded":
        return this.#followReminder(effect.data)
      case "approval-request.escalated":
        return this.#followEscalation(effect.data)
      case "approval-request.delegated":
        if (effect.data.to) this.#delegations.set(effect.data.member.key, effect.data.to.key)
        else this.#delegations.delete(effect.data.member.key)
        return
      case "approval-request.approved":
      case "approval-request.denied":
      case "approval-request.expired":
      case "approval-request.cancelled":
        return this.#followEnd(effect.name, decision.state)
      default:
        return
    }
  }

  #followOpening({ level: number, digest }: EventOf<"approval-request.level-opened">): void {
    const last = this.#current()
    if (this.#mayOpen === null) {
      hold(last !== undefined && number === this.#level + 1, "V4", `level ${number} opened after level ${this.#level}`)
      hold(last.isApproved(), "V4", `level ${this.#level} was left before it was met`)
      last.isMet = true
    }
    hold(digest === this.#digest, "V3", "a level opened for another content")
    this.#level = number
    this.#open(number).open(this.#kept)
    this.#kept = new Map()
    this.#mayOpen = null
  }

  #delegateOf(key: string): string | undefined {
    const own = this.#delegations.get(key)
    if (own !== undefined) return own
    const { world } = this.#scenario
    const inForce = world.delegationsOf(key).filter(({ from, until }) => from <= world.now && world.now < until)
    return inForce.toSorted((a, b) => b.from - a.from)[0]?.to?.key
  }

  #followVote(said: EventOf<"approval-request.voted">, input: Input): void {
    hold(input.type === "vote", "V2", `${input.type} made a vote`)
    const { actor } = input
    const isSaid = said.by.key === actor.key && said.choice === input.choice
    hold(isSaid, "V9", "a vote is not what was sent")
    hold(input.digest === this.#digest && said.digest === this.#digest, "V3", "a vote on another content was counted")
    hold(input.level === undefined || input.level === said.level, "V2", "a vote for another level was counted")
    const level = this.#open(said.level)
    const seat = level.seats.get(said.member.key)
    hold(seat !== undefined, "V2", `${said.member.key} has no seat`)
    hold(!seat.isBarred, "V13", `the seat of ${said.member.key} is barred`)
    hold(!isBarredBy(level.rule, actor), "V13", `${actor.key} is barred`)
    hold(!level.isGone(said.member.key, seat), "V2", `${said.member.key} has left`)
    const isOwn = said.member.key === actor.key
    hold(isOwn || this.#delegateOf(said.member.key) === actor.key, "V14", `${actor.key} is no delegate`)
    hold(isOwn || seat.vote?.by !== said.member.key, "V14", `${actor.key} spoke over the member`)
    hold(said.choice !== "abstain" || level.rule.abstention !== false, "V9", "an abstention was counted")
    this.#votesCount += 1
    hold(said.number === this.#votesCount, "V9", `vote ${said.number} is number ${this.#votesCount}`)
    hold(said.replaces === (seat.vote?.number ?? null), "V9", "a vote does not say what it replaces")
    seat.vote = { number: said.number, choice: said.choice, by: actor.key }
  }

  #followAnswer({ level: number, by }: EventOf<"approval-request.answered">): void {
    const level = this.#open(number)
    const { now } = this.#scenario.world
    hold(level.askedAt !== null, "V6", "an answer came without a question")
    const stood = now - level.askedAt
    if (by) hold([requester.key, submitter.key].includes(by.key), "V13", `${by.key} answered for the requester`)
    hold(by ? stood < questionExpiresAfter : stood >= questionExpiresAfter, "V18", "a question lapsed at a wrong time")
    level.stoodMilliseconds += by ? stood : questionExpiresAfter
    level.askedAt = null
  }

  #followReminder({ level: number, members }: EventOf<"approval-request.reminded">): void {
    const level = this.#open(number)
    const { everyMilliseconds, max = 3 } = level.rule.reminders ?? { everyMilliseconds: Infinity }
    level.remindersCount += 1
    hold(level.askedAt === null, "V6", "a reminder came while the clocks stood still")
    hold(level.remindersCount <= max, "V19", "too many reminders")
    hold(level.elapsed() >= level.remindersCount * everyMilliseconds, "V18", "a reminder came too early")
    for (const { key } of members) hold(this.#isWaiting(level, key), "V21", `${key} was reminded`)
  }

  #followEscalation({ level: number, jumped }: EventOf<"approval-request.escalated">): void {
    const level = this.#open(number)
    const { escalation } = level.rule
    hold(level.askedAt === null, "V6", "an escalation fired while the clocks stood still")
    hold(escalation && !level.isEscalated, "V11", "an escalation fired twice")
    hold(level.elapsed() >= escalation.afterMilliseconds, "V18", "an escalation fired too early")
    hold(jumped === (escalation.jump === true && !level.isLast), "V4", "an escalation jumped wrongly")
    const seats = level.escalatedSeats()
    level.seats = seats
    level.isEscalated = true
    if (jumped) this.#mayOpen = "jump"
  }

  #followEdit({ before, digest, kept, outdated }: EventOf<"approval-request.edited">, input: Input): void {
    hold(input.type === "edit" && before === this.#digest && digest === input.digest, "V3", "an edit from nowhere")
    hold([requester.key, submitter.key].includes(input.actor.key), "V13", `${input.actor.key} edited`)
    const keeps = this.#scenario.rule.keepVotesWhen !== undefined && contentIn(input.after).keep
    const metCount = keeps ? this.#levels.findIndex(({ isMet }) => !isMet) : 0
    const all = this.#levels.flatMap(({ seats }) =>
      [...seats.values()].flatMap(({ vote }) => (vote ? [vote.number] : [])),
    )
    this.#kept = new Map()
    for (const [index, level] of this.#levels.entries()) {
      if (keeps && index < metCount) continue
      if (keeps && index === metCount) this.#kept = this.#votesKept(level)
      level.seats = new Map()
      level.isMet = false
      level.askedAt = null
    }
    const met = this.#levels.slice(0, Math.max(0, metCount)).flatMap(({ seats }) => [...seats.values()])
    const staying = [...met.flatMap(({ vote }) => vote ?? []), ...this.#kept.values()].map(({ number }) => number)
    const gone = all.filter((number) => !staying.includes(number))
    hold(
      isSame(
        kept.map(({ number }) => number),
        staying,
      ),
      "V5",
      `kept are ${JSON.stringify(kept)}, not ${String(staying)}`,
    )
    hold(
      isSame(
        outdated.map(({ number }) => number),
        gone,
      ),
      "V5",
      `void are ${JSON.stringify(outdated)}, not ${String(gone)}`,
    )
    this.#digest = digest
    this.#mayOpen = "edit"
    this.#level = this.#levels.length > 0 && this.#level > 0 ? metCount + 1 : 0
  }

  /** The votes of those who would be pinned again. */
  #votesKept(level: ShadowLevel): Map<string, ShadowVote> {
    const again = level.membersOf(level.rule.group)
    const votes = [...level.seats].flatMap(([key, { vote }]) =>
      vote && again.get(key)?.isBarred === false ? [[key, vote] as const] : [],
    )
    return new Map(votes)
  }

  #followEnd(name: string, { outcome, state }: RequestState): void {
    hold(outcome !== null && `approval-request.${state}` === name, "V1", `${name} while ${state}`)
    const { reason } = outcome
    const level = this.#current()
    if (reason === "votes" || reason === "veto" || reason === "unreachable") {
      hold(level !== undefined && this.#mayOpen === null, "V4", `ended by ${reason} without a level`)
      if (outcome.result === "approved") {
        hold(level.isLast && level.isApproved(), "V4", "approved without the votes")
        level.isMet = true
      } else if (reason === "votes") hold(level.isRejected(), "V7", "denied without the votes")
      else if (reason === "veto") hold(level.hasVeto(), "V7", "denied without a veto")
      else hold(!level.isReachable() && !level.isApproved(), "V7", "denied although it could be approved")
    }
    if (reason === "timeout" && level) {
      hold(level.askedAt === null, "V6", "a level expired while the clocks stood still")
      hold(level.elapsed() >= (level.rule.expiresAfterMilliseconds ?? 0), "V18", "a level expired too early")
      const approves = this.#scenario.rule.onExpiry === "approve" && !this.#isFaulty
      hold((outcome.result === "approved") === approves, "V17", `the default is ${outcome.result}`)
    }
  }

  /** What the criteria have to come to, where they are asked. */
  #checkCriteria(input: Input, { outcome, template }: RequestState): void {
    const isEdit = input.type === "edit" && this.#mayOpen === "edit"
    const isOpened = this.#level > 0 || outcome?.reason === "criteria" || isEdit
    const content =
      input.type === "edit" ? input.after : input.type === "submit" || input.type === "match" ? input.content : null
    if (content === null || !template || !isOpened) return
    const { auto } = contentIn(content)
    const { approveWhen, denyWhen } = this.#scenario.rule
    this.#isFaulty = auto === undefined && (approveWhen !== undefined || denyWhen !== undefined)
    const denies = denyWhen !== undefined && auto === "deny"
    const approves = approveWhen !== undefined && auto === "approve"
    const expected = denies ? "denied" : approves ? "approved" : null
    if (expected) hold(outcome?.reason === "criteria" && outcome.result === expected, "V17", `criteria: ${expected}`)
    else hold(outcome?.reason !== "criteria", "V17", "criteria decided")
  }

  /** The books agree with the state; an open level is neither decided nor beyond reach nor over its time. */
  #checkState({ state, level: number, digest, levels, votesCount }: RequestState): void {
    hold(digest === this.#digest && votesCount === this.#votesCount, "V3", "the state is about something else")
    for (const [index, { seats }] of levels.entries()) {
      const books = this.#levels[index]
      const votes = seats.flatMap(({ key, vote }) => (vote ? [`${key}:${vote.number}:${vote.choice}`] : []))
      for (const { vote } of seats) hold(!vote || vote.boundTo === digest, "V3", "a vote counts for another content")
      const isOpenNow = index === number - 1 && (state === "open" || state === "asking")
      const known = index === number - 1 && this.#mayOpen === "edit" ? [...this.#kept] : votesIn(books)
      const expected = known.map(([key, vote]) => `${key}:${vote.number}:${vote.choice}`)
      hold(isSame(votes, expected), "V5", `votes of level ${index + 1} are ${votes.join()}, not ${expected.join()}`)
      if (isOpenNow && books) this.#checkSeats(seats, books)
    }
    if (state === "open" || state === "asking") this.#checkOpen(state === "asking", levels[number - 1]?.state)
  }

  #checkSeats(seats: RequestState["levels"][number]["seats"], books: ShadowLevel): void {
    hold(
      isSame(
        seats.map(({ key }) => key),
        [...books.seats.keys()],
      ),
      "V2",
      "there are other seats than were pinned",
    )
    for (const seat of seats) {
      const known = books.seats.get(seat.key)
      hold(known && known.weight === seat.weight && known.veto === seat.veto, "V11", `the weight of ${seat.key}`)
      hold(known.isBarred === (seat.state === "barred"), "V13", `whether ${seat.key} is barred`)
      const isGone = !known.isBarred && books.isGone(seat.key, known)
      hold(isGone === (seat.state === "removed"), "V2", `whether ${seat.key} has left`)
    }
  }

  #checkOpen(isAsking: boolean, levelState: string | undefined): void {
    const level = this.#current()
    hold(level && levelState === "open" && this.#mayOpen === null, "V4", "no level is open")
    hold(isAsking === (level.askedAt !== null), "V6", "a question is open or not")
    hold(!level.isApproved(), "V4", "a level that is met stays open")
    hold(!level.hasVeto() && !level.isRejected() && level.isReachable(), "V7", "a level that is denied stays open")
    if (isAsking) return
    const { expiresAfterMilliseconds = 0, escalation } = level.rule
    hold(level.elapsed() < expiresAfterMilliseconds, "V18", "a level is open after its time")
    const isLate = escalation && !level.isEscalated && level.elapsed() >= escalation.afterMilliseconds
    hold(!isLate, "V18", "an escalation did not fire")
  }

  #checkTemplate({ template }: RequestState): void {
    const text = template && JSON.stringify(template)
    if (this.#template !== null) hold(text === this.#template, "V15", "the template has changed")
    this.#template = text
  }

  #isWaiting(level: ShadowLevel, key: string): boolean {
    const seat = level.seats.get(key)
    return seat !== undefined && isWaiting(level, key, seat)
  }

  #checkNotices({ state, outcome }: RequestState, effects: readonly Effect[]): void {
    const calls = ["decide", "pre-notice", "reminder", "question", "escalation"]
    let results = 0
    for (const effect of effects) {
      if (effect.type !== "notice") continue
      if (effect.kind === "result") results += 1
      hold(outcome === null || !calls.includes(effect.kind), "V21", `${effect.kind} of a request that has ended`)
      if (effect.kind !== "decide") continue
      const level = this.#open(effect.level ?? 0)
      for (const { person, seat } of effect.to) {
        hold(seat !== null && level.seats.get(seat)?.isBarred === false, "V21", `${person.key} was called to vote`)
        level.told.add(`${person.key} ${seat}`)
      }
    }
    hold(results === (outcome ? 1 : 0), "V21", `${results} results were told`)
    const level = state === "open" || state === "asking" ? this.#current() : undefined
    for (const [key, seat] of level?.seats ?? []) {
      if (!level || !isWaiting(level, key, seat)) continue
      hold(level.told.has(`${key} ${key}`), "V21", `${key} was not called to vote`)
      const delegate = this.#delegateOf(key)
      hold(
        delegate === undefined || delegate === key || level.told.has(`${delegate} ${key}`),
        "V21",
        `${delegate} was not called`,
      )
    }
  }

  /** A change of the directory approves nothing, where no timer did. */
  #checkNoApproval({ effects }: Accepted): void {
    const names = new Set(effects.flatMap((effect) => (effect.type === "event" ? [effect.name] : [])))
    if (names.has("approval-request.escalated") || names.has("approval-request.answered")) return
    hold(!names.has("approval-request.level-opened"), "V12", "a change of a group let a level be met")
    const byVotes = effects.some(
      (effect) =>
        effect.type === "event" && effect.name === "approval-request.approved" && effect.data.reason === "votes",
    )
    hold(!byVotes, "V12", "a change of a group approved the request")
  }
}

function isWaiting(level: ShadowLevel, key: string, seat: ShadowSeat): boolean {
  return !seat.isBarred && seat.vote === null && !level.isGone(key, seat)
}

function votesIn(level: ShadowLevel | undefined): Array<[string, ShadowVote]> {
  return [...(level?.seats ?? [])].flatMap(([key, { vote }]): Array<[string, ShadowVote]> =>
    vote ? [[key, vote]] : [],
  )
}

function isSame<T>(a: readonly T[], b: readonly T[]): boolean {
  const set = new Set(a)
  return a.length === b.length && b.every((each) => set.has(each))
}

/** The simulator makes all contents itself. */
function contentIn(content: unknown): Content {
  return content as Content
}
