import { breakGlassReviewsOpen } from "@signalbox/contracts/calendars/break-glass-reviews"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { startServerFixture, type ServerFixture } from "../../http/edge.fixture.ts"

let server: ServerFixture
let account = ""
let principal = ""
beforeAll(async () => {
  server = await startServerFixture()
  const { body } = await server.call(server.platformKey, "GET", "/v1/auth/whoami")
  account = String(body["account"])
  principal = String(body["principal"])
})
afterAll(() => server.stop())

const call = (method: string, path: string, body?: unknown) => server.call(server.platformKey, method, path, body)

const open = (requestId: string, by = "key:somebody") =>
  server.composition.router.call(
    breakGlassReviewsOpen,
    { requestId, operation: "executions.create", principal: by, reason: "site down", calendars: ["freeze"] },
    { account, service: "approvals", roles: ["gate"], cause: requestId, depth: 0 },
  )

describe("A15: a review of a call that skipped a calendar", () => {
  test("is opened once for a request, is listed, and closed with a comment once", async () => {
    const review = await open("req_1")
    expect(await open("req_1")).toEqual(review)
    expect(review).toMatchObject({ state: "open", requestId: "req_1", reason: "site down", calendars: ["freeze"] })
    await open("req_2")
    const list = async (query: string) =>
      ((await call("GET", `/v1/break-glass-reviews${query}`)).body["items"] as Array<Record<string, unknown>>).map(
        ({ requestId }) => requestId,
      )
    expect(new Set(await list("?state=open"))).toEqual(new Set(["req_1", "req_2"]))
    const path = `/v1/break-glass-reviews/${review.id}`
    expect((await call("POST", `${path}:close`, { comment: " " })).status).toBe(400)
    const closed = await call("POST", `${path}:close`, { comment: "the site was down indeed" })
    expect(closed.body).toMatchObject({ state: "closed", comment: "the site was down indeed", closedBy: principal })
    expect((await call("POST", `${path}:close`, { comment: "again" })).body.code).toBe("calendars.review-closed")
    expect(await list("?state=open")).toEqual(["req_2"])
    expect(await list("?state=closed")).toEqual(["req_1"])
    expect((await call("GET", path)).body).toMatchObject({ state: "closed" })
    expect((await call("GET", "/v1/break-glass-reviews/bgr_none")).status).toBe(404)
  })

  test("is never closed by who skipped the calendar, nor opened by a person", async () => {
    const review = await open("req_own", principal)
    const refused = await call("POST", `/v1/break-glass-reviews/${review.id}:close`, { comment: "fine" })
    expect([refused.status, refused.body.code]).toEqual([403, "calendars.own-review"])
    const forged = await call("POST", "/v1/break-glass-reviews", {
      ...{ requestId: "req_forged", operation: "a.b", principal: "key:x", reason: "r", calendars: ["c"] },
    })
    expect(forged.status).toBe(403)
  })

  test("pages through the newest first", async () => {
    for (let index = 0; index < 5; index++) await open(`req_page_${index}`)
    const seen: unknown[] = []
    let cursor: unknown
    do {
      const { body } = await call(
        "GET",
        `/v1/break-glass-reviews?limit=2${typeof cursor === "string" ? `&cursor=${cursor}` : ""}`,
      )
      seen.push(...(body["items"] as Array<Record<string, unknown>>).map(({ id }) => id))
      cursor = body["nextCursor"]
    } while (cursor !== undefined && seen.length < 50)
    expect(new Set(seen).size).toBe(seen.length)
    expect(seen.length).toBe(8)
  })
})
