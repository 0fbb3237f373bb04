import type { ErrorCode } from "@signalbox/kernel/error-catalogue"
import type { Delegation, GroupRule, Identity, Person, PinnedTemplate } from "./template-rules.ts"

/** Last four terminal. `asking`: a level is open and its clocks stand still until the requester answers. */
export type RequestStateName = "unmatched" | "open" | "asking" | "approved" | "denied" | "expired" | "cancelled"

/** `passed`: an escalation went on to the next level. The last three end the request. */
export type LevelStateName = "waiting" | "open" | "met" | "passed" | "denied" | "expired" | "stopped"

/** `barred`: may not vote on this request. `removed`: has left the groups that the seat came from. */
export type SeatStateName = "waiting" | "approved" | "denied" | "abstained" | "barred" | "removed"

/** `overtaken`: the level was decided, or the request edited or ended, before an answer came. */
export type QuestionStateName = "open" | "answered" | "lapsed" | "overtaken"

export type VoteChoice = "approve" | "deny" | "abstain"
/** By which way an answer came; the same rules hold for all of them. */
export type AnswerWay = "api" | "link"

export type SeatBar = "self-approval" | "same-team"

/** The vote of a seat that counts now. `digest` is what was voted on; `boundTo` what it counts for, another one after an edit that kept it. */
export interface SeatVote {
  readonly number: number
  readonly choice: VoteChoice
  readonly digest: string
  readonly boundTo: string
  readonly by: Person
  readonly via: AnswerWay
  readonly at: number
}

/** One member's place in one opened level. Immutable: a change is a new seat. */
export interface Seat {
  readonly key: string
  readonly name?: string
  readonly state: SeatStateName
  readonly bar: SeatBar | null
  /** The groups that the seat came from: whoever is in none of them any more is removed. */
  readonly groups: readonly string[]
  readonly weight: number
  /** Marked in a group; whether that is a veto is the level rule's to say. */
  readonly veto: boolean
  readonly absent: boolean
  /** Who may vote in the member's place now. */
  readonly delegate: Person | null
  /** Joined by escalation. */
  readonly escalation: boolean
  readonly vote: SeatVote | null
  /** Votes given on this seat since it was pinned. */
  readonly votesCount: number
}

/** Milliseconds since 1970. While a question is open they stand still: `question.askedAt` is where. */
export interface LevelTimers {
  readonly expiresAt: number
  readonly escalatesAt: number | null
  readonly remindsAt: number | null
}

export interface LevelState {
  readonly state: LevelStateName
  /** How often the level has opened. */
  readonly openings: number
  readonly openedAt: number | null
  readonly closedAt: number | null
  /** Pinned when the level opens. */
  readonly seats: readonly Seat[]
  /** Present while the level is open. */
  readonly timers: LevelTimers | null
  readonly escalated: boolean
  readonly remindersCount: number
}

export interface Question {
  readonly number: number
  readonly state: QuestionStateName
  readonly level: number
  readonly by: Person
  readonly text: string
  readonly askedAt: number
  readonly lapsesAt: number
  readonly answer?: { readonly text: string; readonly by: Person; readonly at: number }
}

/** What associations select by and criteria look at (`operation`, `type`, `product`, …, `cost`). */
export type RequestAttributes = Readonly<Record<string, string | number | boolean>>

export interface Requester extends Identity {
  readonly roles: readonly string[]
}

export type OutcomeReason = "votes" | "veto" | "unreachable" | "criteria" | "timeout" | "cancelled" | "unmatched-policy"

export interface Outcome {
  /** An expired request is denied. */
  readonly result: "approved" | "denied" | "cancelled"
  readonly reason: OutcomeReason
  /** The level that decided, from 1; null where none did. */
  readonly level: number | null
  readonly by?: Person
  readonly comment?: string
}

/** One approval request, whole, as plain JSON. Contents and the history of votes are the caller's to keep. */
export interface RequestState {
  readonly state: RequestStateName
  /** From 1; grows with each edit. */
  readonly revision: number
  /** SHA-256 of the canonical JSON of the present content. */
  readonly digest: string
  readonly attributes: RequestAttributes
  readonly requester: Requester
  /** Who sent the request, where that is another than the requester: barred like the requester. */
  readonly submitter: Identity
  readonly template: PinnedTemplate | null
  /** Number of the level in hand, from 1; 0 before the first one opens. */
  readonly level: number
  readonly levels: readonly LevelState[]
  /** All of them, the oldest first; at most the last one is open. */
  readonly questions: readonly Question[]
  /** For this request alone; they go before those of `World.delegationsOf`. */
  readonly delegations: ReadonlyArray<{ readonly member: string; readonly to: Person }>
  /** Votes ever given; the number of the last one. */
  readonly votesCount: number
  /** Why the criteria could not be evaluated; then nothing is approved by default. */
  readonly criteriaFault: string | null
  readonly submittedAt: number
  /** When the request ends for want of a template; null once it has one. */
  readonly unmatchedUntil: number | null
  readonly endedAt: number | null
  readonly outcome: Outcome | null
}

/** What a decision looks at beside the request: the directory as it is now. */
export interface World {
  /** Milliseconds since 1970, by the database's clock. */
  readonly now: number
  /** Whether the change calendars let changes through now, for criteria. */
  readonly calendarOpen: boolean
  findGroup(name: string): GroupRule | undefined
  /** The delegations of a member, past and future ones too, in any order. */
  delegationsOf(memberKey: string): readonly Delegation[]
}

/** Something that happened. `actor` is who is known to do it; the same rules hold whichever way it came. */
export type Input =
  | {
      readonly type: "submit"
      readonly digest: string
      readonly content: unknown
      readonly attributes: RequestAttributes
      readonly requester: Requester
      readonly submitter: Identity
      /** Null where no association matches; then `unmatched` decides. */
      readonly template: PinnedTemplate | null
      readonly unmatched: "refuse" | "wait" | "approve"
    }
  | {
      readonly type: "match"
      readonly template: PinnedTemplate
      /** The present content. */
      readonly content: unknown
      readonly by: Person
    }
  | {
      readonly type: "vote"
      readonly actor: Identity
      readonly choice: VoteChoice
      /** Of what the actor saw. */
      readonly digest: string
      readonly via: AnswerWay
      /** The level that the actor saw open, from 1; a link always names it. */
      readonly level?: number
      readonly comment?: string
      /** Whether it carries a signature by a key of the actor's, which was checked. */
      readonly isSigned?: boolean
    }
  | {
      readonly type: "ask"
      readonly actor: Identity
      readonly text: string
      readonly digest: string
      readonly level?: number
    }
  | { readonly type: "answer"; readonly actor: Identity; readonly text: string }
  | {
      readonly type: "edit"
      readonly actor: Identity
      readonly digest: string
      readonly before: unknown
      readonly after: unknown
      /** Where absent, they stay. */
      readonly attributes?: RequestAttributes
    }
  /** For this request alone; `to` null takes it back. */
  | { readonly type: "delegate"; readonly actor: Identity; readonly to: Identity | null }
  | { readonly type: "timer" }
  | {
      readonly type: "cancel"
      readonly actor: Identity
      /** Whether the actor may withdraw requests of others. */
      readonly asAdministrator: boolean
      readonly comment?: string
    }
  /** Somebody left a group, was disabled, came back, or delegates: who, is seen in the world. */
  | { readonly type: "member-removed" }

export type InputType = Input["type"]

/** One row of the append-only record of votes. */
export interface VoteRecord {
  readonly number: number
  readonly level: number
  readonly levelName: string
  readonly member: Person
  readonly by: Person
  readonly choice: VoteChoice
  readonly digest: string
  readonly revision: number
  readonly via: AnswerWay
  readonly comment?: string
  readonly at: number
  /** Number of the vote of this seat that it replaces; null where it is the first one. */
  readonly replaces: number | null
}

/** A vote as events name it. */
export interface VoteMention {
  readonly number: number
  readonly level: number
  readonly member: Person
  readonly choice: VoteChoice
}

interface LevelMention {
  /** From 1. */
  readonly level: number
  readonly levelName: string
}

interface EndData {
  readonly digest: string
  readonly reason: OutcomeReason
  /** Null where no level decided. */
  readonly level: number | null
  readonly by?: Person
}

/** Data of each event; the subject is the request. Neither contents nor comments: those are read where they are kept. */
export interface ApprovalEvents {
  "approval-request.submitted": { readonly digest: string; readonly requester: Person; readonly submitter: Person }
  "approval-request.matched": {
    readonly digest: string
    readonly template: string
    readonly version: number
    readonly by?: Person
  }
  "approval-request.level-opened": LevelMention & { readonly digest: string; readonly members: readonly Person[] }
  "approval-request.voted": LevelMention & {
    readonly digest: string
    readonly number: number
    readonly member: Person
    readonly by: Person
    readonly choice: VoteChoice
    readonly replaces: number | null
  }
  "approval-request.asked": LevelMention & { readonly digest: string; readonly question: number; readonly by: Person }
  /** `by` absent: nobody answered in time. */
  "approval-request.answered": LevelMention & {
    readonly digest: string
    readonly question: number
    readonly by?: Person
  }
  "approval-request.edited": {
    readonly digest: string
    readonly before: string
    readonly revision: number
    readonly by: Person
    readonly kept: readonly VoteMention[]
    readonly outdated: readonly VoteMention[]
  }
  "approval-request.reminded": LevelMention & { readonly digest: string; readonly members: readonly Person[] }
  /** `added`: who joined. `jumped`: the next level opens although this one is not met. */
  "approval-request.escalated": LevelMention & {
    readonly digest: string
    readonly added: readonly Person[]
    readonly jumped: boolean
  }
  "approval-request.delegated": LevelMention & {
    readonly digest: string
    readonly member: Person
    readonly to: Person | null
  }
  "approval-request.approved": EndData
  "approval-request.denied": EndData
  "approval-request.expired": EndData
  "approval-request.cancelled": EndData
}

export type ApprovalEventName = keyof ApprovalEvents

export type ApprovalEvent = {
  readonly [Name in ApprovalEventName]: {
    readonly type: "event"
    readonly name: Name
    readonly data: ApprovalEvents[Name]
  }
}[ApprovalEventName]

/**
 * Why somebody is told something. `decide`: it is your turn. `pre-notice`: it will be. `answer`: the question was
 * answered. `outdated`: your vote is void. `result`: it has ended.
 */
export type NoticeKind =
  | "decide"
  | "pre-notice"
  | "reminder"
  | "escalation"
  | "question"
  | "answer"
  | "outdated"
  | "result"

/** Whom to tell; `seat` is the key of the member in whose place the person may answer, null of the requester. */
export interface Recipient {
  readonly person: Person
  readonly seat: string | null
}

/** What has to follow, once the state is stored. */
export type Effect =
  | { readonly type: "vote"; readonly vote: VoteRecord }
  | ApprovalEvent
  | {
      readonly type: "notice"
      readonly kind: NoticeKind
      /** From 1; null where it is about none. */
      readonly level: number | null
      readonly to: readonly Recipient[]
      /** The question, or its answer. */
      readonly text?: string
    }

/** Codes of the error catalogue with which an input can be refused. */
export type RefusalCode = Extract<
  ErrorCode,
  | "approvals.request-not-found"
  | "approvals.already-submitted"
  | "approvals.request-ended"
  | "approvals.request-unmatched"
  | "approvals.already-matched"
  | "approvals.not-a-member"
  | "approvals.level-not-open"
  | "approvals.level-closed"
  | "approvals.member-removed"
  | "approvals.self-approval"
  | "approvals.same-team"
  | "approvals.content-changed"
  | "approvals.abstention-refused"
  | "approvals.signature-required"
  | "approvals.already-voted"
  | "approvals.member-has-voted"
  | "approvals.question-open"
  | "approvals.no-question"
  | "approvals.not-the-requester"
  | "approvals.delegate-refused"
  | "approvals.limit-reached"
>

/** A refusal changes nothing. An accepted input may have no effects (a timer that is not due). */
export type Decision =
  | { readonly outcome: "accepted"; readonly state: RequestState; readonly effects: readonly Effect[] }
  | { readonly outcome: "refused"; readonly code: RefusalCode; readonly message: string }
