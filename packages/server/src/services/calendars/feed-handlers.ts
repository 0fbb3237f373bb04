import { createHash } from "node:crypto"
import { Readable } from "node:stream"
import {
  calendarFeedLimits,
  calendarFeedsCreate,
  calendarFeedsList,
  calendarFeedsRead,
  calendarFeedsRevoke,
} from "@signalbox/contracts/calendars/calendar-feeds"
import type { OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import { onChange, onRead, type Handler } from "../../router/handler.ts"
import { makeKeyText, parseKeyText } from "../../router/key-text.ts"
import { rawContent } from "../../router/raw-content.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import { calendarNotFound, getCalendar } from "./change-calendar-access.ts"
import { feedText } from "./feed-text.ts"
import { countFeeds, deleteFeed, findFeed, insertFeed, listFeeds, type FeedRow } from "./feed-store.ts"
import { dayMilliseconds } from "./icalendar/moments.ts"
import type { CalendarsContext } from "./options.ts"

export function feedHandlers(context: CalendarsContext): Handler[] {
  return [
    onChange(calendarFeedsCreate, async (input, ctx) => {
      await getCalendar(ctx.tx, ctx.account, input.calendar)
      if ((await countFeeds(ctx.tx, ctx.account)) >= calendarFeedLimits.feedsMax)
        throw new AppError("calendars.too-many", `an account has ${calendarFeedLimits.feedsMax} feeds at most`)
      const id = newId("calendarFeed", context.clock, context.random)
      const { text, secretHash } = makeKeyText({ account: ctx.account, id }, context.random)
      const row: FeedRow = {
        account: ctx.account,
        id,
        calendar: input.calendar,
        note: input.note ?? null,
        secretHash,
        createdAt: ctx.now,
        createdBy: ctx.caller.principal,
      }
      await insertFeed(ctx.tx, row)
      ctx.emit({
        aggregate: id,
        type: "calendar-feed.created",
        subject: id,
        version: 1,
        data: { calendar: row.calendar },
      })
      return { ...toFeed(row), url: `${context.publicUrl}/v1/calendar-feeds/${text}/calendar` }
    }),
    onRead(calendarFeedsList, async (input, { sql, account }) => {
      const [after = ""] = input.cursor === undefined ? [] : decodeCursor(input.cursor, 1)
      const rows = await listFeeds(sql, account, { after: String(after), limit: input.limit + 1 })
      const shown = rows.slice(0, input.limit)
      const last = shown.at(-1)
      return {
        items: shown.map(toFeed),
        ...(rows.length > input.limit && last ? { nextCursor: encodeCursor([last.id]) } : {}),
      }
    }),
    onChange(calendarFeedsRevoke, async ({ feed }, ctx) => {
      const row = await deleteFeed(ctx.tx, ctx.account, feed)
      if (!row) throw new AppError("calendars.feed-not-found", `there is no feed ${feed} in this account`)
      ctx.emit({
        aggregate: feed,
        type: "calendar-feed.revoked",
        subject: feed,
        version: 2,
        data: { calendar: row.calendar },
      })
      return toFeed(row)
    }),
    readFeed(context),
  ]
}

function toFeed(row: FeedRow): OutputOf<typeof calendarFeedsList>["items"][number] {
  return {
    id: row.id,
    calendar: row.calendar,
    ...(row.note === null ? {} : { note: row.note }),
    createdAt: toInstant(row.createdAt),
    createdBy: row.createdBy,
  }
}

/** The token in the path was the credential: the router has made sure that it is the caller's. */
function readFeed({ calendars }: CalendarsContext): Handler {
  return onRead(calendarFeedsRead, async ({ token }, { sql, account, now }) => {
    const feed = await findFeed(sql, account, parseKeyText(token)?.id ?? "")
    if (!feed) throw calendarNotFound("of this feed")
    const row = await getCalendar(sql, account, feed.calendar)
    const { compiled } = await calendars.know(sql, row)
    const from = now - calendarFeedLimits.behindDays * dayMilliseconds
    const to = now + calendarFeedLimits.aheadDays * dayMilliseconds
    const content = Buffer.from(feedText(row, compiled?.occurrencesBetween(from, to) ?? []))
    return rawContent({
      bytes: content.length,
      etag: createHash("sha256").update(content).digest("hex").slice(0, 32),
      open: ({ start, end }) => Promise.resolve(Readable.from([content.subarray(start, end)])),
    })
  })
}
