/** What administrators write: templates, groups, delegations. Plain data; durations in milliseconds. */

/** Who is meant, by the one key under which this person votes: a principal's id, `mailto:…` or `channel:…`. */
export interface Person {
  readonly key: string
  readonly name?: string
}

/** A person with all that bans look at. */
export interface Identity extends Person {
  /** All keys by which the person is known, `key` among them: whoever reads that mailbox is that person. */
  readonly keys: readonly string[]
  readonly teams: readonly string[]
}

/**
 * What approves a level. `first-response`: the first vote that is no abstention decides, either way. Weights count in
 * `quorum`, `percentage` (rounded up, at least 1) and `majority` (more than half).
 */
export type VotingStrategy =
  | { readonly kind: "first-response" }
  | { readonly kind: "any" }
  | { readonly kind: "all" }
  | { readonly kind: "quorum"; readonly count: number }
  | { readonly kind: "percentage"; readonly percent: number }
  | { readonly kind: "majority" }

/** What denies a level beside a veto and the loss of its reachability; by weight, a percentage rounded up. */
export type RejectionRule = { readonly count: number } | { readonly percent: number }

export interface EscalationRule {
  readonly afterMilliseconds: number
  /** Whose members join the level. Absent and without `jump`, everyone who has not voted is told once more. */
  readonly group?: string
  /** Goes on to the next level instead. At the last level there is none: then the group joins. */
  readonly jump?: boolean
}

export interface LevelRule {
  readonly name: string
  readonly group: string
  readonly strategy: VotingStrategy
  readonly reject?: RejectionRule
  /** Whose denial alone denies the request: nobody's, that of members who are marked, anybody's. Default `none`. */
  readonly veto?: "none" | "marked" | "any"
  /** Default false. */
  readonly selfApproval?: boolean
  /** Default `allowed`. */
  readonly sameTeam?: "allowed" | "barred"
  /** Default true. */
  readonly abstention?: boolean
  /** Default true from the second level on; without a meaning at the first. */
  readonly preNotice?: boolean
  /** `max` defaults to `remindersMaxDefault`. */
  /** Whether approvals and abstentions count only with a signature by the voter's own key. Default `accepted`. */
  readonly signedVotes?: "accepted" | "required"
  readonly reminders?: { readonly everyMilliseconds: number; readonly max?: number }
  readonly escalation?: EscalationRule
  /** Default `expiresAfterMillisecondsDefault`. */
  readonly expiresAfterMilliseconds?: number
}

export interface TemplateRule {
  readonly levels: readonly LevelRule[]
  /** CEL over `request`, `calendar` and `now`; asked when a template is matched and after each edit. */
  readonly approveWhen?: string
  /** Likewise; wins over `approveWhen`. */
  readonly denyWhen?: string
  /** What a level that nobody decided comes to, for the whole request. Default `deny`. */
  readonly onExpiry?: "deny" | "approve"
  /** CEL over `before` and `after`, the contents around an edit: true keeps the votes. */
  readonly keepVotesWhen?: string
}

/** A version of a template as a request keeps it, an association's group overrides applied (`withGroups`). */
export interface PinnedTemplate {
  readonly name: string
  readonly version: number
  readonly rule: TemplateRule
}

export interface MemberRule extends Identity {
  /** Default 1. */
  readonly weight?: number
  /** Marked for `veto: marked`. Default false. */
  readonly veto?: boolean
  /** The principal may not log in any more: the member counts as removed. */
  readonly disabled?: boolean
}

export interface GroupRule {
  readonly name: string
  /** One each key. */
  readonly members: readonly MemberRule[]
}

/** Somebody else answers for a member from `from` up to, not including, `until`; `to` null is an absence. */
export interface Delegation {
  readonly to: Person | null
  readonly from: number
  readonly until: number
}
