/**
 * The answering page in a real browser of a phone's size, behind the link of a real mail. Run by `npm run test:e2e`, which
 * needs Chromium: Debian's package `chromium`, or the path of another one in SIGNALBOX_TEST_BROWSER.
 */
import { existsSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { untilTrue } from "../services/approvals/approvals.fixture.ts"
import { MailReceiver } from "../services/notifications/notifications.fixture.ts"
import { startServerFixture, type ServerFixture } from "./edge.fixture.ts"

const phone: BrowserContextOptions = {
  viewport: { width: 360, height: 740 },
  deviceScaleFactor: 3,
  hasTouch: true,
  isMobile: true,
}
/** What WCAG 2.2 asks of text (AA), and of what a finger has to hit. */
const contrastMin = 4.5
const targetPixelsMin = 44

const mails = new MailReceiver()
let server: ServerFixture
let browser: Browser
let directory: string

function browserPath(): string {
  const named = process.env["SIGNALBOX_TEST_BROWSER"]
  const found = [named, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
    (path) => path !== undefined && existsSync(path),
  )
  if (found === undefined)
    throw new Error("no Chromium: install Debian's package chromium, or name one in SIGNALBOX_TEST_BROWSER")
  return found
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox browser "))
  browser = await chromium.launch({
    executablePath: browserPath(),
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
  })
  await mails.start(directory)
  server = await startServerFixture({
    mail: { url: mails.url, from: "Signalbox <signalbox@example.org>", startTls: "require", caPem: mails.caPem },
  })
  await put("approval-groups/ops", { members: [{ mail: "ada@example.org", name: "Ada" }] })
  const levels = [{ name: "ops", group: "ops", strategy: { kind: "any" } }]
  await put("approval-templates/one", { levels })
  await put("associations/windows", { template: "one", selector: { operation: "windows.*" } })
})
afterAll(async () => {
  await browser.close()
  await server.stop()
  await mails.stop()
  await rm(directory, { recursive: true })
})

async function put(path: string, body: object): Promise<Record<string, unknown>> {
  const answer = await server.call(server.platformKey, "PUT", `/v1/${path}`, body)
  expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300)
  return answer.body
}

/** A change that waits for Ada; the link is that of her mail. */
async function hold(name: string): Promise<{ readonly id: string; readonly link: string }> {
  const held = await put(`windows/${name}`, { cron: "0 3 * * *", zone: "UTC", duration: "2h" })
  const id = String(held["requestUrl"]).replace(/^.*\//, "")
  let link = ""
  await untilTrue(() => {
    const text = mails.mails.map((mail) => decoded(mail.text)).find((each) => each.includes(`show ${id}`)) ?? ""
    link = /\/answers\/[a-z0-9_-]+/.exec(text)?.[0] ?? ""
    return link !== ""
  })
  return { id, link: `${server.url}${link}` }
}

/** Of quoted-printable. */
function decoded(text: string): string {
  return text
    .replace(/=\r?\n/g, "")
    .replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
}

async function votesOf(id: string): Promise<Array<Record<string, unknown>>> {
  const { body } = await server.call(server.platformKey, "GET", `/v1/approval-requests/${id}`)
  return body["votes"] as Array<Record<string, unknown>>
}

async function withPage<T>(options: BrowserContextOptions, work: (page: Page) => Promise<T>): Promise<T> {
  const context = await browser.newContext({ ...phone, ...options })
  try {
    return await work(await context.newPage())
  } finally {
    await context.close()
  }
}

/** What of a page's globals is asked for: the rest of this program has no document. */
interface PageElement {
  readonly parentElement: PageElement | null
  readonly childNodes: Iterable<{ readonly nodeType: number; readonly textContent: string | null }>
  readonly outerHTML: string
  getBoundingClientRect(): { readonly height: number }
}
interface PageGlobals {
  readonly document: {
    readonly documentElement: { readonly scrollWidth: number; readonly clientWidth: number }
    querySelectorAll(selector: string): Iterable<PageElement>
  }
  getComputedStyle(element: PageElement): { readonly [property in "backgroundColor" | "color" | "opacity"]: string }
  matchMedia(query: string): { readonly matches: boolean }
}

interface Looks {
  readonly overflow: number
  readonly faint: readonly string[]
  readonly small: readonly string[]
}

/** What a person with a phone in the hand would trip over, by what the browser computed. */
function look(page: Page): Promise<Looks> {
  return page.evaluate(
    ([contrast, target]) => {
      const { document, getComputedStyle, matchMedia } = globalThis as unknown as PageGlobals
      type Colour = readonly [number, number, number, number]
      const parse = (text: string): Colour => {
        const numbers = (/\(([^)]*)\)/.exec(text)?.[1] ?? "0,0,0,0").split(/[ ,/]+/).map(Number)
        return [numbers[0] ?? 0, numbers[1] ?? 0, numbers[2] ?? 0, numbers[3] ?? 1]
      }
      const over = (top: Colour, below: Colour): Colour => {
        const mix = (a: number, b: number): number => a * top[3] + b * (1 - top[3])
        return [mix(top[0], below[0]), mix(top[1], below[1]), mix(top[2], below[2]), 1]
      }
      const light = ([r, g, b]: Colour): number => {
        const [x, y, z] = [r, g, b].map((value) => {
          const share = value / 255
          return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
        })
        return 0.2126 * (x ?? 0) + 0.7152 * (y ?? 0) + 0.0722 * (z ?? 0)
      }
      const ancestors = (element: PageElement): PageElement[] => {
        const all: PageElement[] = []
        for (let at: PageElement | null = element; at; at = at.parentElement) all.unshift(at)
        return all
      }
      const canvas: Colour = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18, 1] : [255, 255, 255, 1]
      const contrastOf = (element: PageElement): number => {
        let below = canvas
        let opacity = 1
        for (const each of ancestors(element)) {
          const style = getComputedStyle(each)
          below = over(parse(style.backgroundColor), below)
          opacity *= Number(style.opacity)
        }
        const [r, g, b, a] = parse(getComputedStyle(element).color)
        const [one, two] = [light(over([r, g, b, a * opacity], below)), light(below)]
        return (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05)
      }
      const withText = [...document.querySelectorAll("body *")].filter((element) =>
        [...element.childNodes].some((node) => node.nodeType === 3 && (node.textContent ?? "").trim() !== ""),
      )
      const root = document.documentElement
      return {
        overflow: root.scrollWidth - root.clientWidth,
        faint: withText.filter((element) => contrastOf(element) < contrast).map((element) => element.outerHTML),
        small: [...document.querySelectorAll("button, input, textarea, summary")]
          .filter((element) => element.getBoundingClientRect().height < target)
          .map((element) => element.outerHTML),
      }
    },
    [contrastMin, targetPixelsMin] as const,
  )
}

const fine: Looks = { overflow: 0, faint: [], small: [] }

describe("A8: the answering page on a phone", () => {
  test.each(["light", "dark"] as const)("can be read and pressed, %s", async (colorScheme) => {
    const { link } = await hold(`a-window-whose-name-is-${"very".repeat(6)}long-${colorScheme}`)
    await withPage({ colorScheme }, async (page) => {
      await page.goto(link)
      await page.getByText("All of what is to be approved").tap()
      expect(await look(page)).toEqual(fine)
      await page.goto(`${link}tampered`)
      await expect(page.getByText("Nothing was recorded.").isVisible()).resolves.toBe(true)
      expect(await look(page)).toEqual(fine)
    })
  })

  test("records what is pressed, once: not the opening, not a reload, not the way back", async () => {
    const { id, link } = await hold("pressed")
    await withPage({}, async (page) => {
      const problems: string[] = []
      page.on("console", (message) => problems.push(message.text()))
      page.on("requestfailed", (request) => problems.push(request.url()))
      await page.goto(`${link}?choice=approve`)
      expect(await votesOf(id)).toEqual([])
      await page.getByLabel("Comment, or your question").fill("fine by me: <b>ß</b>")
      await page.getByRole("button", { name: "Approve" }).tap()
      await page.getByText("Your answer was recorded: Approved").waitFor()
      await page.reload()
      await page.goBack()
      await page.goForward()
      await page.getByText("Your answer was recorded: Approved").waitFor()
      expect(await page.locator("main b").count()).toBe(0)
      expect(problems).toEqual([])
    })
    expect(await votesOf(id)).toMatchObject([
      { choice: "approve", comment: "fine by me: <b>ß</b>", by: { name: "Ada" }, via: "link" },
    ])
    await untilTrue(async () => (await server.call(server.platformKey, "GET", "/v1/windows/pressed")).status === 200)
  })

  test("works where nothing may run: no script, nothing loaded from elsewhere", async () => {
    const { id, link } = await hold("scriptless")
    await withPage({ javaScriptEnabled: false }, async (page) => {
      const asked: string[] = []
      page.on("request", (request) => asked.push(request.url()))
      await page.goto(link)
      await page.getByRole("button", { name: "Deny" }).tap()
      await page.getByText("Your answer was recorded: Denied").waitFor()
      expect(asked.filter((url) => !url.startsWith(link))).toEqual([])
    })
    expect(await votesOf(id)).toMatchObject([{ choice: "deny" }])
  })
})
