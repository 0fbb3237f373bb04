import { changeCalendarLimits } from "@signalbox/contracts/calendars/change-calendars"
import { AppError } from "@signalbox/kernel/app-error"
import type { Egress, EgressResponse } from "../../egress/egress.ts"
import type { SecretReader } from "../../router/ports.ts"
import type { CalendarRow } from "./change-calendar-store.ts"

/** What a subscribed calendar's place answered. */
export type Fetched =
  | { readonly kind: "same" }
  | { readonly kind: "document"; readonly document: string; readonly etag: string | null }

const redirectsMax = 5
const timeoutMilliseconds = 30_000
const bytesMax = 2 * 1024 * 1024
const etagCharactersMax = 200

/**
 * Fetches the document of a subscribed calendar, through the one guarded way out. Messages name hosts and no paths: the
 * addresses of calendars are secrets often.
 *
 * @throws calendars.invalid-calendar where the answer is no calendar; what secrets and the way out throw
 */
export async function fetchCalendar(
  { egress, secrets }: { readonly egress: Pick<Egress, "request">; readonly secrets: Pick<SecretReader, "read"> },
  row: CalendarRow,
): Promise<Fetched> {
  let url = await urlOf(secrets, row)
  for (let redirects = 0; redirects <= redirectsMax; redirects++) {
    const target = URL.parse(url)
    if (target?.protocol !== "https:") throw unusable("its address is no https: URL")
    const answer = await egress.request({
      method: "GET",
      url,
      headers: {
        accept: "text/calendar, text/plain;q=0.5, */*;q=0.1",
        "user-agent": "Signalbox",
        ...(row.etag === null || row.documentVersion === null ? {} : { "if-none-match": row.etag }),
      },
      timeoutMilliseconds,
      responseBytesMax: bytesMax,
    })
    const next = redirectOf(answer, target)
    if (next === undefined) return read(answer, target.host)
    url = next
  }
  throw unusable(`it was sent on more than ${redirectsMax} times`)
}

async function urlOf(secrets: Pick<SecretReader, "read">, { account, url, urlSecret }: CalendarRow): Promise<string> {
  if (url !== null) return url
  const name = urlSecret ?? ""
  return (await secrets.read(account, [name]))[name]?.value.trim() ?? ""
}

function redirectOf({ status, headers }: EgressResponse, from: URL): string | undefined {
  if (![301, 302, 303, 307, 308].includes(status)) return undefined
  const next = URL.parse(headers["location"] ?? "", from.href)
  if (!next) throw unusable(`${from.host} sends on to nowhere`)
  return next.href
}

function read({ status, headers, body }: EgressResponse, host: string): Fetched {
  if (status === 304) return { kind: "same" }
  if (status !== 200) throw unusable(`${host} answered ${status}`)
  const document = new TextDecoder().decode(body)
  if (document.length > changeCalendarLimits.documentCharactersMax)
    throw unusable(`the document has more than ${changeCalendarLimits.documentCharactersMax} characters`)
  if (document.includes("\0")) throw unusable("the document holds characters that no text has")
  const etag = headers["etag"] ?? null
  return { kind: "document", document, etag: etag !== null && etag.length <= etagCharactersMax ? etag : null }
}

const unusable = (why: string): AppError => new AppError("calendars.invalid-calendar", `fetching the calendar: ${why}`)
