import { settleOutbox } from "@signalbox/testkit/settle-outbox"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { newPublicKey, startServerFixture, type ServerFixture } from "../../http/edge.fixture.ts"

let server: ServerFixture
let nodeId: string
let executionId: string

const get = (path: string) => server.call(server.platformKey, "GET", path)
const post = (path: string, body: unknown) => server.call(server.platformKey, "POST", path, body)

interface Entry {
  readonly kind: string
  readonly what: string
  readonly subject: string
  readonly text: string
  readonly principal: string
}

async function why(id: string): Promise<{ cause: string; entries: Entry[]; truncated: boolean }> {
  await settleOutbox(server.test.database)
  const answer = await get(`/v1/why/${encodeURIComponent(id)}`)
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return answer.body as unknown as { cause: string; entries: Entry[]; truncated: boolean }
}

beforeAll(async () => {
  server = await startServerFixture()
  const enrollment = (await post("/v1/enrollment-keys", {})).body["key"] as string
  const enrolled = await server.call(enrollment, "POST", "/v1/nodes:enroll", {
    name: "web-1",
    machineId: "machine",
    publicKey: newPublicKey(),
  })
  nodeId = enrolled.body["node"] as string
  const run = await post("/v1/executions", {
    document: 'kind: Workflow\nname: greet\nsteps:\n  - name: greet\n    run: ["true"]\n',
    targets: { nodes: ["web-1"] },
    note: "for the story",
  })
  executionId = run.body["id"] as string
})

afterAll(() => server.stop())

describe("X4: why", () => {
  test("an execution's story begins with who asked, and goes on with what followed", async () => {
    const story = await why(executionId)
    expect(story.cause).toMatch(/^req_/)
    expect(story.entries[0]).toMatchObject({ kind: "request", what: "executions.create" })
    expect(story.entries[0]?.principal).toMatch(/^key:/)
    expect(story.entries.map((entry) => entry.what)).toContain("execution.created")
    expect(await why(story.cause)).toMatchObject({
      entries: expect.arrayContaining([expect.objectContaining({ what: "execution.created" })]),
    })
  })

  test("a node's story, by id or name, tells of its enrolment and of the runs that touched it", async () => {
    for (const id of [nodeId, "web-1"]) {
      const { entries } = await why(id)
      expect(entries.map((entry) => entry.what)).toContain("node.enrolled")
      const task = entries.find((entry) => entry.kind === "task")
      expect(task).toMatchObject({ subject: executionId })
      expect(task?.text).toContain("ran greet here")
    }
    const listed = await get("/v1/executions?node=web-1")
    expect((listed.body["items"] as Array<{ id: string }>).map((item) => item.id)).toEqual([executionId])
    expect((await get("/v1/executions?node=web-2")).body["items"]).toEqual([])
  })

  test("an event's story is that of its cause; a task's is that of its execution", async () => {
    await settleOutbox(server.test.database)
    const events = (await get(`/v1/events?type=execution.created`)).body["items"] as Array<{
      id: string
      cause: string
    }>
    const { cause } = await why(events[0]?.id ?? "")
    expect(cause).toBe(events[0]?.cause)
    expect((await why(`tsk_${executionId.slice(4)}_0`)).cause).toBe(cause)
  })

  test("what nobody knows is a clear refusal", async () => {
    for (const id of ["exe_00000000000000000000000000", "evt_00000000000000000000000000", "nobody"]) {
      const answer = await get(`/v1/why/${id}`)
      expect([answer.status, answer.body.code]).toEqual([404, "audit.unknown-subject"])
    }
  })
})

describe("audit records", () => {
  test("each change and each refusal has one, the newest first, in pages without gap or repeat", async () => {
    for (let n = 0; n < 5; n++) await post("/v1/keys", { name: `k${n}`, roles: ["viewer"] })
    const all = (await get("/v1/audit?limit=1000")).body["items"] as Array<{
      id: string
      time: string
      operation: string
    }>
    expect(all.filter((record) => record.operation === "keys.create")).toHaveLength(5)
    expect(all.map((record) => record.time)).toEqual(
      all
        .map((record) => record.time)
        .toSorted()
        .toReversed(),
    )
    const seen: string[] = []
    for (let cursor = ""; ;) {
      const page = (await get(`/v1/audit?limit=2${cursor}`)).body as {
        items: Array<{ id: string }>
        nextCursor?: string
      }
      seen.push(...page.items.map((record) => record.id))
      if (!page.nextCursor) break
      cursor = `&cursor=${page.nextCursor}`
    }
    expect(seen).toEqual(all.map((record) => record.id))
    const one = (await get(`/v1/audit?subject=${executionId}`)).body["items"] as unknown[]
    expect(one).toHaveLength(1)
  })

  test("events are filtered by type, by a whole noun, and by subject", async () => {
    await settleOutbox(server.test.database)
    const types = async (query: string): Promise<string[]> =>
      ((await get(`/v1/events?limit=1000&${query}`)).body["items"] as Array<{ type: string }>).map(
        (event) => event.type,
      )
    expect(new Set(await types("type=key.created"))).toEqual(new Set(["key.created"]))
    expect((await types("type=node.*")).every((type) => type.startsWith("node."))).toBe(true)
    expect(await types(`subject=${nodeId}`)).toContain("node.enrolled")
  })
})
