import { approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import { SeededRandom } from "@signalbox/engine/simulator/seeded-random"
import type { ReceivedCall } from "@signalbox/server/services/notifications/notifications.fixture"
import { setTimeout as delay } from "node:timers/promises"
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest"
import { openApprovals, type ApprovalsInstallation, type Asked } from "./approvals-installation.fixture.ts"
import { HeldPoint } from "@signalbox/testkit/held-point"

/**
 * `kill -9` of the server between a vote, its result and the call that it held. Locks in the database hold the server at
 * the very line; then rounds of kills at moments that a seed draws. Whatever the moment: a result reaches the backend at
 * least once and always as the same message, a call is carried out once.
 */
const firstSeed = Number(process.env["KILL_SEED"] ?? Math.floor(Math.random() * 1_000_000))
const roundsCount = Number(process.env["KILL_ROUNDS"] ?? 3)
const timeoutMilliseconds = 400_000
/** What a server that was killed had begun to send is sent again when its claim of a minute has ended. */
const claimedMilliseconds = 180_000
const once = { state: "done", rows: 1, records: 1, told: 1 }

let world: ApprovalsInstallation
const points: HeldPoint[] = []

beforeAll(async () => {
  world = await openApprovals()
}, timeoutMilliseconds)
afterEach(async () => {
  for (const point of points.splice(0)) await point.release()
})
afterAll(() => world.stop(), timeoutMilliseconds)

const table = async (name: string): Promise<HeldPoint> => {
  const point = await HeldPoint.onTable(world.database.connection, name)
  points.push(point)
  return point
}

const request = async (id: string): Promise<HeldPoint> => {
  const point = await HeldPoint.onRequest(world.database.connection, id)
  points.push(point)
  return point
}

const release = async (point: HeldPoint): Promise<void> => {
  points.splice(points.indexOf(point), 1)
  await point.release()
}

/** What the backend was told of a request. */
function callbacksOf({ id }: Asked): Array<{ messageId: string; data: Record<string, unknown> }> {
  const parsed = world.hooks.calls.map(({ headers, body }: ReceivedCall) => {
    const { data } = JSON.parse(body) as { data: Record<string, unknown> }
    return { messageId: String(headers["webhook-id"]), data }
  })
  return parsed.filter(({ data }) => data["request"] === id)
}

async function expectResult(asked: Asked): Promise<void> {
  const hasCome = async () => callbacksOf(asked).length > 0
  await world.installation.eventually(`the result of ${asked.id}`, hasCome, claimedMilliseconds)
  const told = callbacksOf(asked)
  expect(new Set(told.map(({ messageId }) => messageId)).size).toBe(1)
  for (const { data } of told) expect(data).toMatchObject({ result: "approved", digest: asked.digest })
  const { votes, state } = await world.as("ada").call(approvalRequestsGet, { request: asked.id })
  expect({ state, votes: votes.map(({ choice }) => choice) }).toEqual({ state: "approved", votes: ["approve"] })
  const [row] = await world.database.database.query<{ count: number }>(
    "select count(*)::int as count from outbox where subject = $1 and type = 'approval-request.approved'",
    [asked.id],
  )
  expect(row?.count).toBe(1)
}

async function expectOnce(title: string, asked: Asked): Promise<void> {
  const isSettled = async () => !["waiting", "approved"].includes((await world.witness(title, asked)).state)
  await world.installation.eventually(`${title} to have run`, isSettled, claimedMilliseconds)
  expect(await world.witness(title, asked)).toEqual(once)
}

async function killAndStart(held: HeldPoint, isCutOff: boolean): Promise<void> {
  await world.installation.server.end("SIGKILL")
  if (isCutOff) await held.cutOff()
  await release(held)
  await world.start()
}

/** Its claim of a minute runs while the other kills are played. */
let takenNotAnswered: Asked | undefined

test(
  "A12: kill -9 while the receiver has the result and has not answered",
  async () => {
    const asked = await world.submit("taken, not answered")
    const answer = Promise.withResolvers<{ status: number }>()
    world.hooks.answer = () => answer.promise
    await world.approve(asked)
    await world.installation.eventually("the receiver to have it", async () => callbacksOf(asked).length === 1)
    await world.installation.server.end("SIGKILL")
    world.hooks.answer = () => ({ status: 204 })
    answer.resolve({ status: 204 })
    await world.start()
    takenNotAnswered = asked
  },
  timeoutMilliseconds,
)

describe.each([
  ["what it had sent to the database is lost with it", true],
  ["what it had sent to the database is still carried out", false],
])("kill -9, and %s", (_name, isCutOff) => {
  const of = (title: string): string => `${title}${isCutOff ? ", cut off" : ""}`
  test(
    "A12: between the vote and its result: the result comes",
    async () => {
      const asked = await world.submit(of("vote and result"))
      const deliveries = await table("deliveries")
      expect(await world.approve(asked)).toBe(true)
      await deliveries.untilReached("insert into deliveries")
      expect(callbacksOf(asked)).toEqual([])
      await killAndStart(deliveries, isCutOff)
      await expectResult(asked)
    },
    timeoutMilliseconds,
  )

  test(
    "A7: between the result and the held call: the call runs once",
    async () => {
      const title = of("result and call")
      const asked = await world.hold(title)
      const held = await table("held_operations")
      expect(await world.approve(asked)).toBe(true)
      await held.untilReached("update held_operations")
      expect(await world.witness(title, asked)).toMatchObject({ rows: 0, records: 0, told: 0 })
      await killAndStart(held, isCutOff)
      await expectOnce(title, asked)
    },
    timeoutMilliseconds,
  )

  test(
    "A7: between the call's commit and its record, and its caller is disabled meanwhile: it has run, once, and says so",
    async () => {
      const title = of("commit and record")
      const asked = await world.hold(title)
      const held = await table("held_operations")
      expect(await world.approve(asked)).toBe(true)
      await held.untilReached("update held_operations")
      const row = await request(asked.id)
      await release(held)
      await row.untilReached("from approval_requests")
      expect(await world.witness(title, asked)).toEqual({ state: "approved", rows: 1, records: 1, told: 0 })
      await setRequesterDisabled(true)
      await killAndStart(row, isCutOff)
      await world.installation.eventually("the call to be recorded", async () => {
        const [found] = await world.database.database.query<{ state: string }>(
          "select state from held_operations where request_id = $1",
          [asked.id],
        )
        return found?.state !== "approved"
      })
      await setRequesterDisabled(false)
      await world.installation.server.end("SIGTERM")
      await world.start()
      expect(await world.witness(title, asked)).toEqual(once)
    },
    timeoutMilliseconds,
  )
})

/** As if an administrator had done it while the server was away. */
async function setRequesterDisabled(isDisabled: boolean): Promise<void> {
  await world.database.database.query(
    "update service_accounts set disabled_at = case when $1 then now() end where name = 'requester'",
    [isDisabled],
  )
}

test(
  `A7, A12: ${roundsCount} rounds of kills at any moment, from seed ${firstSeed}`,
  async () => {
    for (let seed = firstSeed; seed < firstSeed + roundsCount; seed++) {
      const random = new SeededRandom(seed)
      const titles = Array.from({ length: 6 }, (_, index) => `round ${seed} ${index}`)
      const orders = await Promise.all(titles.map((title) => world.submit(title)))
      const held = await Promise.all(titles.map((title) => world.hold(title)))
      const votes = [...orders, ...held].map((asked) => world.approve(asked))
      await delay(random.integer(0, 600))
      await world.installation.server.end("SIGKILL")
      await Promise.allSettled(votes)
      await world.start()
      for (const asked of [...orders, ...held]) expect(await world.approve(asked), `KILL_SEED=${seed}`).toBe(true)
      for (const asked of orders) await expectResult(asked)
      for (const [index, asked] of held.entries()) await expectOnce(titles[index] ?? "", asked)
    }
  },
  timeoutMilliseconds * 2,
)

test(
  "A12: what the receiver had and did not answer comes again, as the same message",
  async () => {
    const asked = takenNotAnswered
    if (!asked) throw new Error("the receiver had nothing")
    const hasComeAgain = async () => callbacksOf(asked).length > 1
    await world.installation.eventually("the same message", hasComeAgain, timeoutMilliseconds / 2)
    await expectResult(asked)
  },
  timeoutMilliseconds,
)
