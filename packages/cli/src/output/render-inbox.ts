import type { approvalRequestsInbox } from "@signalbox/contracts/approvals/requests"
import type { OutputOf } from "@signalbox/contracts/operation"
import { safeLine } from "./safe-text.ts"

type Inbox = OutputOf<typeof approvalRequestsInbox>

/** What waits for somebody, list by list, each request on a line. */
export function renderInbox({ decide, questions, ended, counts }: Inbox): string {
  const part = (title: string, count: number, lines: readonly string[]): string[] =>
    count === 0 ? [] : [`${title} (${count}):`, ...lines.map((line) => `  ${safeLine(line)}`)]
  const lines = [
    ...part(
      "your answer is waited for",
      counts.decide,
      decide.map(({ id, title, requester, expiresAt }) => {
        const until = expiresAt === undefined ? "" : `, until ${expiresAt}`
        return `${id}  ${title}  (${requester.name ?? requester.key}${until})`
      }),
    ),
    ...part(
      "you are asked",
      counts.questions,
      questions.map(({ id, title, question }) => `${id}  ${title}: ${question?.text ?? ""}`),
    ),
    ...part(
      "what you asked for has ended",
      counts.ended,
      ended.map(({ id, title, outcome }) => `${id}  ${title}: ${outcome?.result ?? ""}`),
    ),
  ]
  return lines.length === 0 ? "nothing waits for you\n" : `${lines.join("\n")}\n`
}
