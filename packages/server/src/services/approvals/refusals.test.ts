import {
  approvalRequestsAbstain,
  approvalRequestsApprove,
  approvalRequestsAsk,
  approvalRequestsDelegate,
} from "@signalbox/contracts/approvals/answers"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import {
  approvalRequestsCancel,
  approvalRequestsGet,
  approvalRequestsSubmit,
} from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { startApprovals, untilTrue, type ApprovalsFixture, type Member } from "./approvals.fixture.ts"

/**
 * Every refusal on every path by which somebody answers: a member, an administrator, a delegate. One table: whatever
 * the path, the same code.
 */
let fixture: ApprovalsFixture
let zoe: Member
let other: Member
let backend: Member
const paths = ["member", "administrator", "delegate"] as const
type Path = (typeof paths)[number]

/** Whose seat it is, and who answers. */
interface Actors {
  readonly holder: Member
  readonly actor: Member
}
const actors = {} as Record<Path, Actors>

beforeAll(async () => {
  fixture = await startApprovals()
  zoe = await fixture.member("zoe", ["approver"])
  other = await fixture.member("other", ["approver"])
  backend = await fixture.member("shop", ["backend"])
  const member = await fixture.member("ada", ["operator"], ["red"])
  const administrator = await fixture.member("adm", ["admin"], ["red"])
  const holder = await fixture.member("ben", ["operator"], ["blue"])
  const delegate = await fixture.member("dan", ["operator"], ["red"])
  actors["member"] = { holder: member, actor: member }
  actors["administrator"] = { holder: administrator, actor: administrator }
  actors["delegate"] = { holder, actor: delegate }
}, 60_000)

afterAll(() => fixture.stop())

let sequence = 0

interface Made {
  /** As it was when it began. */
  readonly id: string
  readonly digest: string
  readonly group: string
}

interface Wish {
  /** Groups of the levels, by who is in them. */
  readonly levels: ReadonlyArray<readonly Member[]>
  readonly rule?: object
  readonly by?: Member
  readonly requester?: object
}

/** A request with a template of its own; the holder's seat is handed over where there is a delegate. */
async function make(path: Path, { levels, rule = {}, by = backend, requester }: Wish): Promise<Made> {
  const { admin } = fixture
  const name = `case-${++sequence}`
  const groups = levels.map((_, index) => `${name}-${index}`)
  for (const [index, members] of levels.entries()) {
    const group = { name: groups[index] ?? "", members: members.map(({ principal }) => ({ principal })) }
    await fixture.call(admin, approvalGroupsApply, group)
  }
  await fixture.call(admin, templatesApply, {
    name,
    levels: groups.map((group) => ({ name: group, group, strategy: { kind: "any" as const }, ...rule })),
  })
  await fixture.call(admin, associationsApply, { name, template: name, selector: { type: name } })
  const asked = { type: name, title: name, content: { name }, ...(requester ? { requester } : {}) }
  const { id, digest, state } = await fixture.submit(by.key, asked)
  expect(state).toBe("open")
  const { holder, actor } = actors[path]
  const isFirst = levels[0]?.includes(holder) === true
  if (path === "delegate" && isFirst)
    await fixture.call(holder.key, approvalRequestsDelegate, { request: id, to: actor.principal })
  return { id, digest, group: groups[0] ?? "" }
}

const approve = (path: Path, { id, digest }: Made): Promise<string> =>
  fixture.refusal(actors[path].actor.key, approvalRequestsApprove, { request: id, digest })

/** What is done, and what must be said of it; `delegate` where a delegate's case differs: nobody is a delegate yet. */
const table: ReadonlyArray<{
  readonly code: string
  readonly delegate?: string
  attempt(path: Path): Promise<string>
}> = [
  {
    code: "accepted",
    attempt: async (path) => approve(path, await make(path, { levels: [[actors[path].holder, zoe]] })),
  },
  {
    code: "approvals.not-a-member",
    attempt: async (path) => approve(path, await make(path, { levels: [[zoe, other]] })),
  },
  {
    code: "approvals.level-not-open",
    delegate: "approvals.not-a-member",
    attempt: async (path) => approve(path, await make(path, { levels: [[zoe], [actors[path].holder]] })),
  },
  {
    code: "approvals.level-closed",
    async attempt(path) {
      const made = await make(path, { levels: [[actors[path].holder, zoe], [other]] })
      await fixture.call(zoe.key, approvalRequestsApprove, { request: made.id, digest: made.digest })
      return await approve(path, made)
    },
  },
  {
    code: "approvals.member-removed",
    async attempt(path) {
      const { holder } = actors[path]
      const made = await make(path, { levels: [[holder, zoe]] })
      await fixture.call(fixture.admin, approvalGroupsApply, {
        name: made.group,
        members: [{ principal: zoe.principal }],
      })
      await untilTrue(async () => {
        const { levels } = await fixture.call(zoe.key, approvalRequestsGet, { request: made.id })
        return (
          levels[0]?.seats.some(({ state, member }) => state === "removed" && member.key === holder.principal) === true
        )
      })
      return await approve(path, made)
    },
  },
  {
    code: "approvals.self-approval",
    async attempt(path) {
      const { actor, holder } = actors[path]
      const members = path === "delegate" ? [zoe, holder] : [holder, zoe]
      const made = await make(path === "delegate" ? "member" : path, { levels: [members], by: actor })
      return await approve(path, made)
    },
  },
  {
    code: "approvals.same-team",
    async attempt(path) {
      const requester = { mail: "somebody@example.org", teams: ["red"] }
      const wish = { levels: [[actors[path].holder, zoe]], rule: { sameTeam: "barred" }, requester }
      if (path !== "delegate") return await approve(path, await make(path, wish))
      const made = await make("member", wish)
      // The seat may not even be handed over to somebody of the team.
      const to = actors[path].actor.principal
      return await fixture.refusal(actors[path].holder.key, approvalRequestsDelegate, { request: made.id, to })
    },
  },
  {
    code: "approvals.content-changed",
    async attempt(path) {
      const made = await make(path, { levels: [[actors[path].holder, zoe]] })
      return await approve(path, { ...made, digest: "0".repeat(64) })
    },
  },
  {
    code: "approvals.request-ended",
    async attempt(path) {
      const made = await make(path, { levels: [[actors[path].holder, zoe]] })
      await fixture.call(backend.key, approvalRequestsCancel, { request: made.id })
      return await approve(path, made)
    },
  },
  {
    code: "approvals.request-unmatched",
    async attempt(path) {
      const lonely = { type: "lonely", title: "lonely", content: 1, unmatched: "wait" } as const
      const { id, digest } = await fixture.call(backend.key, approvalRequestsSubmit, lonely)
      return await approve(path, { id, digest, group: "" })
    },
  },
  {
    code: "approvals.abstention-refused",
    async attempt(path) {
      const wish = { levels: [[actors[path].holder, zoe]], rule: { abstention: false } }
      const { id, digest } = await make(path, wish)
      return await fixture.refusal(actors[path].actor.key, approvalRequestsAbstain, { request: id, digest })
    },
  },
  {
    code: "approvals.already-voted",
    async attempt(path) {
      const made = await make(path, { levels: [[actors[path].holder, zoe]], rule: { strategy: { kind: "all" } } })
      expect(await approve(path, made)).toBe("accepted")
      return await approve(path, made)
    },
  },
  {
    code: "approvals.question-open",
    async attempt(path) {
      const { id, digest } = await make(path, { levels: [[actors[path].holder, zoe]] })
      const ask = () =>
        fixture.refusal(actors[path].actor.key, approvalRequestsAsk, { request: id, digest, question: "why?" })
      expect(await ask()).toBe("accepted")
      return await ask()
    },
  },
]

describe.each(paths)("A4: A16: an answer as %s", (path) => {
  test.each(table.map((row) => [path === "delegate" ? (row.delegate ?? row.code) : row.code, row] as const))(
    "is %s where the request says so",
    async (code, { attempt }) => {
      expect(await attempt(path)).toBe(code)
    },
    60_000,
  )
})

test("A1: another account's request is not there, for reading and for answering", async () => {
  const { id, digest } = await make("member", { levels: [[zoe]] })
  const stranger = await fixture.key("stranger", ["admin"], "elsewhere")
  expect(await fixture.refusal(stranger.key, approvalRequestsGet, { request: id })).toBe("approvals.request-not-found")
  expect(await fixture.refusal(stranger.key, approvalRequestsApprove, { request: id, digest })).toBe(
    "approvals.request-not-found",
  )
  expect(await fixture.refusal(stranger.key, approvalRequestsCancel, { request: id })).toBe(
    "approvals.request-not-found",
  )
})
