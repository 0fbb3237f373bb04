/**
 * Two who act at once, on two servers over one database: each pair of acts. What both get, and what comes of it, is what
 * one of the two orders gives; nothing is decided twice. The pure machine's whole matrix: packages/approvals/src/race-matrix.txt.
 */
import { setTimeout as delay } from "node:timers/promises"
import {
  approvalRequestsAnswer,
  approvalRequestsApprove,
  approvalRequestsAsk,
  approvalRequestsDelegate,
  approvalRequestsDeny,
} from "@signalbox/contracts/approvals/answers"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import {
  approvalRequestsCancel,
  approvalRequestsEdit,
  approvalRequestsGet,
} from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { SeededRandom } from "@signalbox/engine/simulator/seeded-random"
import { HeldPoint } from "@signalbox/testkit/held-point"
import { afterAll, beforeAll, expect, test } from "vitest"
import { startApprovals, untilTrue, type ApprovalsFixture, type Member } from "./approvals.fixture.ts"

const seed = Number(process.env["RACE_SEED"] ?? Math.floor(Math.random() * 1_000_000))
const random = new SeededRandom(seed)
const day = 24 * 3_600_000
const names = ["ann", "bob", "cleo", "dan", "eve", "fay"] as const
let fixture: ApprovalsFixture
let backend: Member
const members = new Map<string, Member>()
/** The same calls on two servers. */
let servers: ReadonlyArray<Pick<ApprovalsFixture, "refusal">>

beforeAll(async () => {
  fixture = await startApprovals()
  backend = await fixture.member("shop", ["backend"])
  for (const name of names) members.set(name, await fixture.member(name, ["approver"]))
  const { admin } = fixture
  const groups = { first: ["ann", "bob", "cleo"], boss: ["dan"], second: ["eve"] }
  for (const [name, people] of Object.entries(groups))
    await fixture.call(admin, approvalGroupsApply, {
      name,
      members: people.map((each) => ({ principal: of(each).principal })),
    })
  const escalation = { after: "2d", group: "boss" }
  const levels = [
    { name: "one", group: "first", strategy: { kind: "first-response" as const }, expiresAfter: "7d", escalation },
    { name: "two", group: "second", strategy: { kind: "any" as const }, expiresAfter: "30d" },
  ]
  await fixture.call(admin, templatesApply, { name: "race", levels })
  await fixture.call(admin, associationsApply, { name: "race", template: "race", selector: { type: "race" } })
  servers = [fixture, fixture.on(await fixture.server.another())]
}, 60_000)
afterAll(() => fixture.stop())

function of(name: string): Member {
  const found = members.get(name)
  if (!found) throw new Error(`there is no ${name}`)
  return found
}

interface Asked {
  readonly id: string
  readonly digest: string
}

type Server = Pick<ApprovalsFixture, "refusal">
type Act = (asked: Asked, server: Server) => Promise<string>

async function pass(asked: Asked, milliseconds: number): Promise<string> {
  fixture.clock.advance(milliseconds)
  await untilTrue(async () => {
    const [row] = await fixture.server.test.database.query<{ isDue: boolean | null }>(
      `select next_timer_at <= to_timestamp($2::float8 / 1000) as "isDue" from approval_requests where id = $1`,
      [asked.id, fixture.clock.now()],
    )
    return row?.isDue !== true
  })
  return "accepted"
}

const timed = ["expire", "escalate"]
const acts: Readonly<Record<string, Act>> = {
  approve: ({ id, digest }, { refusal }) =>
    refusal(of("ann").key, approvalRequestsApprove, { request: id, digest, level: 1 }),
  deny: ({ id, digest }, { refusal }) =>
    refusal(of("bob").key, approvalRequestsDeny, { request: id, digest, level: 1 }),
  ask: ({ id, digest }, { refusal }) =>
    refusal(of("cleo").key, approvalRequestsAsk, { request: id, digest, question: "why?" }),
  answer: ({ id }, { refusal }) => refusal(backend.key, approvalRequestsAnswer, { request: id, answer: "because" }),
  edit: ({ id }, { refusal }) =>
    refusal(backend.key, approvalRequestsEdit, { request: id, revision: 1, content: { chairs: 201 } }),
  cancel: ({ id }, { refusal }) => refusal(backend.key, approvalRequestsCancel, { request: id }),
  delegate: ({ id }, { refusal }) =>
    refusal(of("ann").key, approvalRequestsDelegate, { request: id, to: of("fay").principal }),
  expire: (asked) => pass(asked, 8 * day),
  escalate: (asked) => pass(asked, 2 * day + 1),
}

type Begin = () => Promise<Asked>

const open: Begin = async () => {
  const { id, digest } = await fixture.submit(backend.key, { type: "race", title: "chairs", content: { chairs: 200 } })
  return { id, digest }
}
const asking: Begin = async () => {
  const asked = await open()
  expect(await acts["ask"]?.(asked, fixture)).toBe("accepted")
  return asked
}

/** All that can be seen of it afterwards, without what is new each time. */
interface Outcome {
  readonly got: Readonly<Record<string, string>>
  readonly state: string
  readonly level: number | undefined
  readonly revision: number
  readonly seats: readonly string[]
  readonly votes: readonly string[]
  readonly events: readonly string[]
}

async function outcomeOf({ id }: Asked, got: Readonly<Record<string, string>>): Promise<Outcome> {
  const { state, level, revision, levels, votes } = await fixture.call(fixture.admin, approvalRequestsGet, {
    request: id,
  })
  const seats = levels.flatMap((each) =>
    each.seats.map(
      ({ member, state: seat, delegate }) => `${each.name} ${member.name} ${seat} ${delegate?.name ?? ""}`,
    ),
  )
  const events = (await fixture.eventsOf(id)).filter((type) => type !== "approval-notices.requested")
  return {
    ...{ got, state, level: level?.number, revision, seats, events },
    votes: votes.map(({ choice, standing, member }) => `${member.name} ${choice} ${standing}`),
  }
}

async function inOrder(begin: Begin, order: readonly string[]): Promise<Outcome> {
  const asked = await begin()
  const got: Record<string, string> = {}
  for (const name of order) got[name] = (await acts[name]?.(asked, fixture)) ?? ""
  return await finish(asked, got)
}

/** Both wait for the request's row before either has it; of time, whoever looks first. */
async function atOnce(begin: Begin, pair: readonly [string, string]): Promise<Outcome> {
  const asked = await begin()
  const isTimed = pair.some((name) => timed.includes(name))
  const point = isTimed ? undefined : await HeldPoint.onRequest(fixture.server.test.connection, asked.id)
  const results = pair.map(async (name, index) => {
    if (isTimed && !timed.includes(name)) await delay(random.integer(0, 1_200))
    return [name, await acts[name]?.(asked, servers[index] ?? fixture)] as const
  })
  await point?.untilReached("from approval_requests", 2)
  await point?.release()
  return await finish(asked, Object.fromEntries(await Promise.all(results)) as Record<string, string>)
}

async function finish(asked: Asked, got: Readonly<Record<string, string>>): Promise<Outcome> {
  const outcome = await outcomeOf(asked, got)
  await checkWhole(asked)
  await fixture.refusal(backend.key, approvalRequestsCancel, { request: asked.id })
  return outcome
}

/** What holds of any request, whatever was done to it. */
async function checkWhole({ id }: Asked): Promise<void> {
  const { database } = fixture.server.test
  const events = await database.query<{ type: string; version: number; data: { level?: number } }>(
    "select type, subject_version::int as version, data from outbox where subject = $1 order by subject_version",
    [id],
  )
  expect(events.map(({ version }) => version)).toEqual(events.map((_, index) => index + 1))
  const [row] = await database.query<{ state: string; version: number; ended: boolean; count: number }>(
    `select state, version::int as version, decided_at is not null as ended,
       (state_data->>'votesCount')::int as count from approval_requests where id = $1`,
    [id],
  )
  expect(row?.version).toBe(events.length)
  const ends = events.filter(({ type }) => /\.(?:approved|denied|expired|cancelled)$/.test(type))
  expect(ends).toHaveLength(row?.ended === true ? 1 : 0)
  if (row?.ended === true) expect(ends[0]?.type).toBe(`approval-request.${row.state}`)
  const votes = await database.query<{ number: number }>(
    "select number from approval_votes where request_id = $1 order by number",
    [id],
  )
  expect(votes.map(({ number }) => number)).toEqual(Array.from({ length: row?.count ?? 0 }, (_, index) => index + 1))
}

const all = Object.keys(acts)
const pairs = all.flatMap((first, index) => all.slice(index + 1).map((second) => [first, second] as const))
const cases = [
  ...pairs.map(([first, second]) => ["open", [first, second], open] as const),
  ...pairs
    .filter((pair) => pair.some((name) => name === "answer"))
    .map(([first, second]) => ["asking", [first, second], asking] as const),
]

test.each(cases)(
  `V1, A16: of a request that is %s, %s at once (seed ${seed})`,
  async (_state, [first, second], begin) => {
    const orders = [await inOrder(begin, [first, second]), await inOrder(begin, [second, first])]
    const raced = await atOnce(begin, [first, second])
    expect(orders).toContainEqual(raced)
  },
  60_000,
)
