/** What people are told of a request, in words. Pure. */
import type { deliveriesSend } from "@signalbox/contracts/notifications/sending"
import type { CallInputOf } from "@signalbox/contracts/operation"
import type { NoticeKind, Recipient, RequestState } from "@signalbox/approvals/types"
import { toInstant } from "@signalbox/kernel/clock"
import type { AskingRule } from "../../router/gate-ports.ts"
import { ruleText, strategyText } from "./request-wire.ts"

type Message = CallInputOf<typeof deliveriesSend>["message"]

export interface NoticeFacts {
  readonly kind: NoticeKind
  readonly id: string
  readonly title: string
  readonly state: RequestState
  /** That have a part in the call. */
  readonly rules?: readonly AskingRule[] | undefined
  readonly content: unknown
  readonly recipient: Recipient
  /** The question, or its answer. */
  readonly text?: string
  readonly answerUrl?: string
}

const titleLengthMax = 200
const valueLengthMax = 1000
const contentFactsMax = 6
const rulesShownMax = 5
const digestShown = 16

export function describeNotice(facts: NoticeFacts): Message {
  const { kind, id, answerUrl } = facts
  return {
    title: clip(titleOf(facts), titleLengthMax),
    severity: kind === "escalation" || kind === "reminder" ? "alert" : "notice",
    facts: [
      ...(facts.text === undefined
        ? []
        : [[kind === "answer" ? "Answer" : "Question", clip(facts.text, valueLengthMax)] as [string, string]]),
      ["Asked by", facts.state.requester.name ?? facts.state.requester.key],
      ...ruleFacts(facts),
      ...levelFacts(facts),
      ...contentFacts(facts.content),
      ["Content", `SHA-256 ${facts.state.digest.slice(0, digestShown)}…, revision ${facts.state.revision}`],
    ],
    command: `signalbox approvals show ${id}`,
    ...(answerUrl === undefined ? {} : { actions: actionsOf(facts, answerUrl), confidential: true }),
  }
}

function titleOf({ kind, title, state }: NoticeFacts): string {
  switch (kind) {
    case "decide":
      return `Please approve or deny: ${title}`
    case "reminder":
      return `Still waits for your answer: ${title}`
    case "escalation":
      return `Escalated to you: ${title}`
    case "pre-notice":
      return `Will soon need your approval: ${title}`
    case "question":
      return `Question about: ${title}`
    case "answer":
      return `Your question was answered: ${title}`
    case "outdated":
      return `Changed, so your answer is void: ${title}`
    case "result":
      return `${resultWord(state)}: ${title}`
  }
}

function resultWord({ state }: RequestState): string {
  return `${state.slice(0, 1).toUpperCase()}${state.slice(1)}`
}

function ruleFacts({ rules = [] }: NoticeFacts): Array<[string, string]> {
  return rules
    .slice(0, rulesShownMax)
    .map((rule) => [
      rule.part === "acts" ? "Action of the rule" : "Wanted by the rule",
      clip(ruleText(rule), valueLengthMax),
    ])
}

function levelFacts({ state, recipient }: NoticeFacts): Array<[string, string]> {
  const rule = state.template?.rule.levels[state.level - 1]
  const level = state.levels[state.level - 1]
  if (!rule || !level || state.endedAt !== null) return []
  const of = state.template?.rule.levels.length ?? 0
  const given = level.seats.filter((seat) => seat.state === "approved").map(({ name, key }) => name ?? key)
  const isDelegate = recipient.seat !== null && recipient.seat !== recipient.person.key
  return [
    ["Level", `${rule.name} (${state.level} of ${of}), ${strategyText(rule.strategy)}`],
    ...(given.length === 0 ? [] : [["Approved by", clip(given.join(", "), valueLengthMax)] as [string, string]]),
    ...(isDelegate ? [["In the place of", recipient.seat ?? ""] as [string, string]] : []),
    ...(level.timers ? [["Answer by", toInstant(level.timers.expiresAt)] as [string, string]] : []),
  ]
}

/** What the content itself says a member has to know first: its member `facts`, pairs of label and value. */
export function contentFacts(content: unknown): Array<[string, string]> {
  const given = typeof content === "object" && content !== null && "facts" in content ? content.facts : []
  if (!Array.isArray(given)) return []
  return given.slice(0, contentFactsMax).flatMap((pair: unknown) => {
    const [label, value] = Array.isArray(pair) ? (pair as unknown[]) : []
    return typeof label === "string" && typeof value === "string"
      ? [[clip(label, titleLengthMax), clip(value, valueLengthMax)] as [string, string]]
      : []
  })
}

const choiceWords = { approve: "Approve", deny: "Deny", ask: "Ask a question" } as const

/** Each opens the page that asks for confirmation; none answers by being opened. */
function actionsOf({ kind }: NoticeFacts, url: string): Array<{ label: string; url: string }> {
  if (kind === "question") return [{ label: "Answer the question", url }]
  return Object.entries(choiceWords).map(([choice, label]) => ({ label, url: `${url}?choice=${choice}` }))
}

function clip(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max - 1)}…` : text
}
