/** What requesters and administrators do: submit, give a template, answer, edit, cancel. */
import { approvalLimits } from "./approval-limits.ts"
import { judgeCriteria, keepsVotes } from "./criteria.ts"
import {
  inHand,
  liveSeats,
  moveLevel,
  moveQuestion,
  notify,
  recipientsOf,
  refuse,
  setLevel,
  tell,
  type Draft,
  type Refusal,
} from "./draft.ts"
import { end, openLevel, overtakeQuestion, seatsToOpen } from "./level-steps.ts"
import { personOf, pinSeats } from "./seats.ts"
import type { Identity, Person, PinnedTemplate } from "./template-rules.ts"
import { resumeClocks } from "./timers.ts"
import type { Input, LevelState, RequestState, Seat, VoteMention, World } from "./types.ts"

type InputOf<Type extends Input["type"]> = Extract<Input, { readonly type: Type }>

const waitingLevel: LevelState = {
  state: "waiting",
  openings: 0,
  openedAt: null,
  closedAt: null,
  seats: [],
  timers: null,
  escalated: false,
  remindersCount: 0,
}

export function newRequest(
  { digest, attributes, requester, submitter }: InputOf<"submit">,
  world: World,
): RequestState {
  return {
    state: "unmatched",
    revision: 1,
    digest,
    attributes,
    requester,
    submitter,
    template: null,
    level: 0,
    levels: [],
    questions: [],
    delegations: [],
    votesCount: 0,
    criteriaFault: null,
    submittedAt: world.now,
    unmatchedUntil: world.now + approvalLimits.unmatchedExpiresAfterMilliseconds,
    endedAt: null,
    outcome: null,
  }
}

export function submit(draft: Draft, { template, content, unmatched }: InputOf<"submit">): void {
  const { digest, requester, submitter } = draft.state
  const data = { digest, requester: personOf(requester), submitter: personOf(submitter) }
  tell(draft, "approval-request.submitted", data)
  if (template) return matchTemplate(draft, { template, content })
  const outcome = { reason: "unmatched-policy", level: null } as const
  if (unmatched === "refuse") end(draft, "deny", { ...outcome, result: "denied" })
  if (unmatched === "approve") end(draft, "approve", { ...outcome, result: "approved" })
}

interface Match {
  readonly template: PinnedTemplate
  readonly content: unknown
  readonly by?: Person
}

/** The template's version is the request's for good. */
export function matchTemplate(draft: Draft, { template, content, by }: Match): void {
  const levels = template.rule.levels.map(() => waitingLevel)
  draft.state = { ...draft.state, template, levels, unmatchedUntil: null }
  const { digest } = draft.state
  const { name, version } = template
  const told = { digest, template: name, version, ...(by && { by: personOf(by) }) }
  tell(draft, "approval-request.matched", told)
  if (applyCriteria(draft, content)) return
  sendPreNotices(draft)
  openLevel(draft, 1)
}

/** Whether the criteria ended the request. */
function applyCriteria(draft: Draft, content: unknown): boolean {
  const { state, world } = draft
  const { attributes, requester, template } = state
  if (!template) return false
  const facts = { attributes, requester, content, calendarOpen: world.calendarOpen, now: world.now }
  const { result, fault } = judgeCriteria(template.rule, facts)
  draft.state = { ...state, criteriaFault: fault }
  if (result === "none") return false
  const outcome = { reason: "criteria", level: null } as const
  if (result === "deny") end(draft, "deny", { ...outcome, result: "denied" })
  else end(draft, "approve", { ...outcome, result: "approved" })
  return true
}

/** Members of later levels hear that a request is on its way to them (A10). */
function sendPreNotices(draft: Draft): void {
  const { state, world } = draft
  for (const [index, rule] of (state.template?.rule.levels ?? []).entries()) {
    if (index === 0 || rule.preNotice === false) continue
    const seats = liveSeats(pinSeats({ rule, askers: state, world }, rule.group))
    notify(draft, { kind: "pre-notice", level: index + 1, to: recipientsOf(seats) })
  }
}

/** By the one key: bans look at all of them, rights never do. */
function refuseStranger({ state: { requester, submitter } }: Draft, { key }: Identity): Refusal | undefined {
  if (key === requester.key || key === submitter.key) return undefined
  return refuse("approvals.not-the-requester", "only who asked for this approval can do that")
}

export function answerQuestion(draft: Draft, { actor, text }: InputOf<"answer">): Refusal | undefined {
  const stranger = refuseStranger(draft, actor)
  if (stranger) return stranger
  const [by, at] = [personOf(actor), draft.world.now]
  const { number: question, askedAt } = moveQuestion(draft, "answer", { text, by, at })
  resumeClocks(draft, askedAt, at)
  const { number, rule, level } = inHand(draft)
  const { digest } = draft.state
  tell(draft, "approval-request.answered", { level: number, levelName: rule.name, digest, question, by })
  notify(draft, { kind: "answer", level: number, to: recipientsOf(liveSeats(level.seats)), text })
  return undefined
}

/** Another content: another digest, for which no vote counts unless the template keeps it (A14). */
export function edit(draft: Draft, input: InputOf<"edit">): Refusal | undefined {
  const stranger = refuseStranger(draft, input.actor)
  if (stranger) return stranger
  const { digest: before, revision, template } = draft.state
  if (input.digest === before) return undefined
  if (revision >= approvalLimits.revisionsMax) {
    return refuse("approvals.limit-reached", `a request takes at most ${approvalLimits.revisionsMax} revisions`)
  }
  const keeps = template !== null && keepsVotes(template.rule, input.before, input.after)
  const votesBefore = votesOf(draft.state)
  const told = recipientsByVote(draft.state)
  overtakeQuestion(draft)
  draft.state = { ...draft.state, revision: revision + 1, digest: input.digest }
  const reopens = resetLevels(draft, keeps)
  const kept = votesOf(draft.state)
  const keptNumbers = new Set(kept.map(({ number }) => number))
  const outdated = votesBefore.filter(({ number }) => !keptNumbers.has(number))
  const { digest } = input
  const by = personOf(input.actor)
  tell(draft, "approval-request.edited", { digest, before, revision: revision + 1, by, kept, outdated })
  const to = outdated.flatMap(({ number }) => told.get(number) ?? [])
  notify(draft, { kind: "outdated", level: null, to })
  if (reopens === 0 || applyCriteria(draft, input.after)) return undefined
  openLevel(draft, reopens)
  return undefined
}

function votesOf({ levels }: RequestState): VoteMention[] {
  return levels.flatMap(({ seats }, index) =>
    seats.flatMap((seat) =>
      seat.vote
        ? [{ number: seat.vote.number, level: index + 1, member: personOf(seat), choice: seat.vote.choice }]
        : [],
    ),
  )
}

function recipientsByVote({ levels }: RequestState): Map<number, ReturnType<typeof recipientsOf>> {
  const seats = levels.flatMap((level) => level.seats).flatMap((seat) => (seat.vote ? [{ seat, vote: seat.vote }] : []))
  return new Map(seats.map(({ seat, vote }) => [vote.number, recipientsOf([seat])]))
}

function rebind(seats: readonly Seat[], digest: string): Seat[] {
  return seats.map((seat) => (seat.vote ? { ...seat, vote: { ...seat.vote, boundTo: digest } } : seat))
}

/**
 * Levels are judged again from the first: those met by votes that are kept stay met, the first other one opens with what
 * is kept of its votes, and all after it wait anew. The number of the one to open; 0 where there is no template yet.
 */
function resetLevels(draft: Draft, keeps: boolean): number {
  const { levels, digest } = draft.state
  const metCount = keeps ? levels.findIndex(({ state }) => state !== "met") : 0
  if (levels.length === 0) return 0
  for (const [index, { seats, openings }] of levels.entries()) {
    const number = index + 1
    if (index >= metCount) {
      moveLevel(draft, number, "reset")
      setLevel(draft, number, { ...waitingLevel, openings })
    }
    if (keeps && index <= metCount) setLevel(draft, number, { seats: rebind(seats, digest) })
  }
  // Of the level to open, only votes of members who are pinned again are kept; the others are told that theirs are void.
  const reopens = metCount + 1
  if (keeps) setLevel(draft, reopens, { seats: seatsToOpen(draft.state, reopens, draft.world) })
  draft.state = { ...draft.state, level: reopens }
  return reopens
}

export function cancel(draft: Draft, { actor, asAdministrator, comment }: InputOf<"cancel">): Refusal | undefined {
  const stranger = asAdministrator ? undefined : refuseStranger(draft, actor)
  if (stranger) return stranger
  const said = comment === undefined ? {} : { comment }
  end(draft, "cancel", { result: "cancelled", reason: "cancelled", level: null, by: personOf(actor), ...said })
  return undefined
}
