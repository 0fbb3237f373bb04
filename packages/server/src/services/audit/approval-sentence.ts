/** What happened to an approval request, in words: who said what to which content. Pure. */
const digestShown = 16

/** Undefined where the event is about something else. */
export function approvalSentence({ type, data }: { type: string; data: unknown }): string | undefined {
  if (!type.startsWith("approval-request.")) return undefined
  const facts = data as Facts
  const { title = "", levelName = "", digest = "" } = facts
  const content = `SHA-256 ${digest.slice(0, digestShown)}…`
  switch (type.slice("approval-request.".length)) {
    case "submitted":
      return `${nameOf(facts.requester)} asked for approval: ${title} (${content})`
    case "matched":
      return `needs the template ${facts.template}, version ${facts.version}`
    case "level-opened":
      return `level ${levelName} is open for ${namesOf(facts.members)}`
    case "voted":
      return `${votedText(facts)} at level ${levelName} (${content})`
    case "asked":
      return `${nameOf(facts.by)} asked a question at level ${levelName}`
    case "answered":
      return facts.by === undefined
        ? "nobody answered the question in time"
        : `${nameOf(facts.by)} answered the question`
    case "edited":
      return `${nameOf(facts.by)} changed it to revision ${facts.revision} (${content}): ${facts.outdated?.length ?? 0} votes are void, ${facts.kept?.length ?? 0} kept`
    case "escalated":
      return `level ${levelName} was escalated to ${namesOf(facts.added)}`
    case "delegated":
      return `${nameOf(facts.member)} lets ${facts.to === null ? "nobody" : nameOf(facts.to)} answer at level ${levelName}`
    case "approved":
    case "denied":
    case "expired":
    case "cancelled":
      return `${type.slice("approval-request.".length)} by ${facts.reason}: ${title} (${content})`
    case "ran":
      return `what was approved ran: ${facts.operation} (${content})`
    case "run-failed":
      return `what was approved was refused when it ran: ${facts.message}`
    default:
      return undefined
  }
}

interface Person {
  readonly key: string
  readonly name?: string
}

interface Facts {
  readonly title?: string
  readonly levelName?: string
  readonly digest?: string
  readonly requester?: Person
  readonly template?: string
  readonly version?: number
  readonly members?: readonly Person[]
  readonly added?: readonly Person[]
  readonly member?: Person
  readonly by?: Person
  readonly to?: Person | null
  readonly choice?: string
  readonly revision?: number
  readonly outdated?: readonly unknown[]
  readonly kept?: readonly unknown[]
  readonly reason?: string
  readonly operation?: string
  readonly message?: string
}

const done: Readonly<Record<string, string>> = { approve: "approved", deny: "denied", abstain: "abstained" }

function votedText({ member, by, choice = "" }: Facts): string {
  const isDelegate = by !== undefined && by.key !== member?.key
  return `${nameOf(by ?? member)} ${done[choice] ?? choice}${isDelegate ? ` in the place of ${nameOf(member)}` : ""}`
}

function nameOf(person: Person | undefined): string {
  return person === undefined ? "somebody" : (person.name ?? person.key.replace(/^mailto:/, ""))
}

function namesOf(people: readonly Person[] = []): string {
  return people.map(nameOf).join(", ")
}
