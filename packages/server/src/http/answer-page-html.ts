/**
 * The page on which a member answers by a link: plain HTML that works on any phone, without scripts. Pure. Every text
 * from outside is escaped.
 */
import { createHash } from "node:crypto"
import type { linkAnswersShow } from "@signalbox/contracts/approvals/link-answers"
import type { OutputOf } from "@signalbox/contracts/operation"

export type ShownAnswer = OutputOf<typeof linkAnswersShow>
type AskingRule = NonNullable<ShownAnswer["request"]["rules"]>[number]
export type LinkChoice = ShownAnswer["choices"][number]

const style = `
:root{color-scheme:light dark;--line:#8884;--edge:#808080;--accent:#1864ab}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:0 auto;padding:1rem}
h1{font-size:1.3rem;line-height:1.3;margin:.5rem 0 1rem;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;margin:0 0 1rem}
dt{opacity:.7}dd{margin:0;overflow-wrap:anywhere}
pre{font-size:.8rem;overflow:auto;max-height:24rem;border:1px solid var(--line);border-radius:.4rem;padding:.6rem}
.note{border-left:.25rem solid var(--accent);padding:.5rem .8rem;background:#8881;margin:1rem 0}
label{display:block;margin:.8rem 0 .2rem}
textarea,input{width:100%;font:inherit;padding:.5rem;border:1px solid var(--edge);border-radius:.4rem;background:transparent;color:inherit}
.choices{display:flex;flex-wrap:wrap;gap:.6rem;margin:1rem 0}
button{font:inherit;padding:.7rem 1.2rem;border-radius:.4rem;border:1px solid var(--edge);background:transparent;color:inherit;flex:1 1 8rem}
button.first{background:var(--accent);border-color:var(--accent);color:#fff;font-weight:600}
summary{padding:.7rem 0;min-height:2.75rem}
small{opacity:.7}
small,code,p{overflow-wrap:anywhere}`

const styleHash = createHash("sha256").update(style).digest("base64")

/** Nothing is loaded, nothing runs, and the page is shown in no frame. */
export const answerPagePolicy = `default-src 'none'; style-src 'sha256-${styleHash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`

const words: Readonly<Record<LinkChoice, string>> = {
  approve: "Approve",
  deny: "Deny",
  abstain: "Abstain",
  ask: "Ask a question",
  answer: "Answer",
}

/** The page of a link. `chosen` is the button that the message's link was for: it comes first. */
export function answerPage(shown: ShownAnswer, { chosen }: { readonly chosen?: string | undefined }): string {
  const { request, content } = shown
  return page(request.title, [
    `<h1>${text(request.title)}</h1>`,
    `<dl>${factsOf(shown)
      .map(([label, value]) => `<dt>${text(label)}</dt><dd>${text(value)}</dd>`)
      .join("")}</dl>`,
    ...(request.question ? [note(`Question of ${nameOf(request.question.by)}: ${request.question.text}`)] : []),
    ...formOf(shown, chosen),
    `<details><summary>All of what is to be approved</summary><pre>${text(JSON.stringify(content, null, 2))}</pre></details>`,
    `<p><small>${text(request.id)}, revision ${request.revision}<br>SHA-256 ${text(request.digest)}</small></p>`,
  ])
}

/** A page that says why something was refused and what to do. */
export function refusalPage(problem: {
  readonly title: string
  readonly detail: string
  readonly help: string
}): string {
  return page(problem.title, [
    `<h1>${text(problem.title)}</h1>`,
    `<p>${text(problem.detail)}</p>`,
    note(problem.help),
    "<p><small>Nothing was recorded.</small></p>",
  ])
}

function factsOf({ request, content, member, you, votes }: ShownAnswer): Array<readonly [string, string]> {
  const { level, template, expiresAt } = request
  const isForOther = member !== undefined && member.key !== you.key
  return [
    ["State", request.state],
    ["Asked by", nameOf(request.requester)],
    ...(request.rules ?? []).map(ruleFact),
    ...contentFacts(content),
    ...(template ? [["Template", `${template.name}, version ${template.version}`] as const] : []),
    ...(level ? [["Level", `${level.name} (${level.number} of ${level.of})`] as const] : []),
    ["You answer as", isForOther ? `${nameOf(you)}, in the place of ${nameOf(member)}` : nameOf(you)],
    ...votes.map(
      ({ member: voter, choice, comment }) =>
        [choiceDone(choice), comment === undefined ? nameOf(voter) : `${nameOf(voter)}: ${comment}`] as const,
    ),
    ...(request.notBefore ? [["Runs from", request.notBefore] as const] : []),
    ...(expiresAt ? [["Answer by", expiresAt] as const] : []),
  ]
}

function ruleFact({ name, version, part, reason }: AskingRule): readonly [string, string] {
  const why = reason === undefined ? "" : `: ${reason}`
  return [part === "acts" ? "Action of the rule" : "Wanted by the rule", `${name}, version ${version}${why}`]
}

/** What the content says has to be known first: its member `facts`. */
function contentFacts(content: unknown): Array<readonly [string, string]> {
  const facts = typeof content === "object" && content !== null && "facts" in content ? content.facts : undefined
  if (!Array.isArray(facts)) return []
  return facts.flatMap((pair: unknown) => {
    const [label, value] = Array.isArray(pair) ? (pair as unknown[]) : []
    return typeof label === "string" && typeof value === "string" ? [[label, value] as const] : []
  })
}

function formOf(shown: ShownAnswer, chosen: string | undefined): string[] {
  const { answered, why, choices, needsLogin, request } = shown
  if (answered) return [note(`Your answer was recorded: ${choiceDone(answered.choice)}, ${answered.at}.`)]
  if (why !== undefined) return [note(why), ...howElse(shown)]
  const order = [...choices].sort((a, b) => Number(b === chosen) - Number(a === chosen))
  const buttons = order.map((choice, index) => {
    const isFirst = index === 0 && (chosen !== undefined || choices.length === 1)
    return `<button name="choice" value="${choice}"${isFirst ? ' class="first"' : ""}>${words[choice]}</button>`
  })
  return [
    ...(request.level?.signedVotes === "required" && choices.includes("deny") ? [signingNote(shown)] : []),
    '<form method="post" autocomplete="off">',
    ...(needsLogin ? loginFields() : []),
    `<label for="comment">${choices.includes("answer") ? "Your answer" : "Comment, or your question"}</label>`,
    '<textarea id="comment" name="comment" rows="3" maxlength="4000"></textarea>',
    `<div class="choices">${buttons.join("")}</div>`,
    "<p><small>Nothing is recorded until you press a button. The link counts for one answer, and only for you.</small></p>",
    "</form>",
  ]
}

function signingNote({ request, digest }: ShownAnswer): string {
  const command = `signalbox approvals approve ${request.id} --digest ${digest} --sign-with FILE`
  return note(`Here an approval needs your own signature, on the machine that has your key: ${command}`)
}

function loginFields(): string[] {
  return [
    note("This approval wants you to log in as well."),
    '<label for="user">Your user name</label><input id="user" name="user" autocomplete="username" required>',
    '<label for="password">Your password</label><input id="password" name="password" type="password" autocomplete="current-password" required>',
  ]
}

function howElse({ request }: ShownAnswer): string[] {
  return [
    `<p>With an account you can see and answer it by <code>signalbox approvals show ${text(request.id)}</code>.</p>`,
  ]
}

function choiceDone(choice: string): string {
  const done: Readonly<Record<string, string>> = {
    approve: "Approved",
    deny: "Denied",
    abstain: "Abstained",
    answer: "Answered",
  }
  return done[choice] ?? choice
}

function nameOf({ key, name }: { readonly key: string; readonly name?: string | undefined }): string {
  return name ?? key.replace(/^mailto:/, "")
}

function note(said: string): string {
  return `<p class="note">${text(said)}</p>`
}

function page(title: string, body: readonly string[]): string {
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">',
    `<title>${text(title)}</title><style>${style}</style></head><body><main>`,
    ...body,
    "</main></body></html>",
  ].join("\n")
}

function text(value: string): string {
  return value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;")
}
