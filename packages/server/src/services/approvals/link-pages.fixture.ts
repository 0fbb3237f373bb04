/** The members' side of links: the mails they come in, and a browser without scripts. */
import { expect } from "vitest"
import type { MailReceiver } from "../notifications/notifications.fixture.ts"
import { untilTrue } from "./approvals.fixture.ts"

export interface Page {
  readonly status: number
  readonly page: string
  readonly headers: Headers
}

/** The newest link that an address got for a revision of a request, on this server. */
export async function findLink(
  mails: MailReceiver,
  of: { readonly url: string; readonly address: string; readonly request: string; readonly revision?: number },
): Promise<string> {
  const { url, address, request, revision = 1 } = of
  const parts = [`show ${request}`, "/answers/", `revision ${revision}`]
  let text = ""
  await untilTrue(() => {
    const texts = mails.mails.filter(({ to }) => to.includes(address)).map((mail) => decoded(mail.text))
    text = texts.findLast((each) => parts.every((part) => each.includes(part))) ?? ""
    return text !== ""
  })
  return `${url}${/\/answers\/[a-z0-9_-]+/.exec(text)?.[0]}`
}

/** Of quoted-printable. */
function decoded(text: string): string {
  return text
    .replace(/=\r?\n/g, "")
    .replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
}

export async function open(link: string, method: "GET" | "HEAD" = "GET"): Promise<Page> {
  const answer = await fetch(link, { method })
  return { status: answer.status, page: await answer.text(), headers: answer.headers }
}

/** Presses one of the page's buttons; gives the page that comes of it. */
export async function press(link: string, fields: Record<string, string>): Promise<Page> {
  const answer = await fetch(link, { method: "POST", body: new URLSearchParams(fields), redirect: "follow" })
  return { status: answer.status, page: await answer.text(), headers: answer.headers }
}

/** A refusal is a page like any other: it says what is wrong, what to do, and that nothing was recorded. */
export function expectRefusal(answer: Page, of: { readonly status: number; readonly says: string }): void {
  const { status, page } = answer
  expect({ status, says: page.includes(of.says) ? of.says : page }).toEqual(of)
  expect(page).toContain("Nothing was recorded.")
  expect(/<p class="note">[^<]{20,}<\/p>/.test(page), "it says what to do").toBe(true)
  expectPlainPage(answer)
}

/** It is for any phone: HTML with its own size, nothing that runs or is loaded, and nobody may keep or frame it. */
export function expectPlainPage({ page, headers }: Page): void {
  expect(headers.get("content-type")).toBe("text/html; charset=utf-8")
  expect(headers.get("cache-control")).toBe("no-store")
  expect(headers.get("referrer-policy")).toBe("no-referrer")
  const policy = headers.get("content-security-policy")
  for (const rule of ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"])
    expect(policy).toContain(rule)
  expect(page).toContain('<meta name="viewport" content="width=device-width,initial-scale=1">')
  expect(page).toMatch(/<html lang="en">[\s\S]*<title>[^<]+<\/title>[\s\S]*<h1>[^<]+<\/h1>/)
  expect(page).not.toMatch(/<script|<link|<img|<iframe|\son[a-z]+=|javascript:|https?:\/\//i)
}
