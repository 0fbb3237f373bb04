import { once } from "node:events"
import type { ServerFrame } from "@signalbox/contracts/fleet/agent-protocol"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { startServerFixture, type ServerFixture } from "./http/edge.fixture.ts"
import { TestMachine, type Reachable, type TestSession } from "./services/fleet/fleet.fixture.ts"

/** Two servers on one database, in this process; machines that say what agents say, connected to either. */
let one: ServerFixture
let two: ServerFixture

beforeAll(async () => {
  one = await startServerFixture()
  two = await one.another()
}, 60_000)
afterAll(() => one.stop(), 60_000)

const waits = { timeout: 20_000, interval: 10 }

function reachable(server: ServerFixture): Reachable {
  return {
    url: server.url,
    async call<T>(operation: string, input: object, options: { token?: string } = {}) {
      const answer = await server.call(options.token ?? one.platformKey, "POST", `/v1/operations/${operation}`, input)
      if (answer.status >= 300) throw new Error(`${operation}: ${JSON.stringify(answer.body)}`)
      return answer.body as T
    },
  }
}

const call = <T = Record<string, unknown>>(server: ServerFixture, operation: string, input: object): Promise<T> =>
  reachable(server).call<T>(operation, input)

type FrameOf<T extends ServerFrame["type"]> = Extract<ServerFrame, { type: T }>

/** Keeps to the protocol: carries a start out once, repeats its result in each session until it is acknowledged. */
class Node {
  readonly machine = new TestMachine()
  readonly starts: Array<FrameOf<"start">> = []
  readonly kills: string[] = []
  readonly finished = new Map<string, object>()
  readonly acknowledged: string[] = []
  /** Whether it goes to the end of what it was told. */
  finishes = true
  session: TestSession | undefined

  get id(): string {
    return this.machine.node
  }

  async connect(server: ServerFixture): Promise<void> {
    const open = [...new Set(this.starts.map(({ key }) => key))]
      .filter((key) => !this.finished.has(key))
      .map((key) => ({ key, phase: "task" as const, state: "running" as const }))
    const session = await this.machine.connect(reachable(server), { open })
    this.session = session
    const { frames } = session
    const take = (frame: ServerFrame): void => this.#take(session, frame)
    for (const frame of frames.splice(0)) take(frame)
    frames.push = (...more) => {
      more.forEach(take)
      return 0
    }
    for (const [key, frame] of this.finished) if (!this.acknowledged.includes(key)) session.send(frame)
  }

  finish(key: string): void {
    const frame = { type: "task-finished", key, outcome: { state: "succeeded", steps: [] } }
    this.finished.set(key, frame)
    this.session?.send(frame)
  }

  #take(session: TestSession, frame: ServerFrame): void {
    if (frame.type === "acknowledge") this.acknowledged.push(frame.key)
    if (frame.type === "kill") this.kills.push(frame.key)
    if (frame.type === "probe") {
      const result = { name: "probe", state: "succeeded", attempts: 1, durationMilliseconds: 1, exitCode: 0 }
      session.send({ type: "probe-finished", id: frame.id, result })
    }
    if (frame.type !== "start") return
    const known = this.starts.some(({ key }) => key === frame.key)
    if (!known) this.starts.push(frame)
    session.send({ type: "started", key: frame.key, phase: "task", at: "2026-01-01T00:00:00Z" })
    if (this.finishes && !known) this.finish(frame.key)
  }
}

/** What a follower of a run is told: all of it as text, and the output of its steps. */
function follow(server: ServerFixture, id: string, signal: AbortSignal): { text: string; output: string } {
  const seen = { text: "", output: "" }
  const read = async (): Promise<void> => {
    const url = `${server.url}/v1/executions/${id}:watch?output=true`
    const { body } = await fetch(url, { headers: { authorization: `Bearer ${one.platformKey}` }, signal })
    const decoder = new TextDecoder()
    let rest = ""
    for await (const chunk of body ?? []) {
      const lines = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split("\n")
      rest = lines.pop() ?? ""
      for (const line of lines.filter((one) => one.startsWith("data:"))) {
        seen.text += line
        const { output = [] } = JSON.parse(line.slice("data:".length)) as { output?: Array<{ text: string }> }
        seen.output += output.map(({ text }) => text).join("")
      }
    }
  }
  read().catch((error: unknown) => {
    if (!signal.aborted) seen.text += String(error)
  })
  return seen
}

async function addNodes(count: number, server: (index: number) => ServerFixture): Promise<Node[]> {
  const { key } = await call<{ key: string }>(one, "enrollment-keys.create", { usesMax: count })
  const nodes: Node[] = []
  for (let index = 0; index < count; index++) {
    const node = new Node()
    await node.machine.enroll(reachable(one), key)
    await node.connect(server(index))
    nodes.push(node)
  }
  return nodes
}

const byTurns = (index: number): ServerFixture => (index % 2 === 0 ? one : two)

const documentOf = (fields: object = {}): string =>
  JSON.stringify({ kind: "Workflow", name: "w", rollback: "never", steps: [{ run: ["true"] }], ...fields })

async function startRun(server: ServerFixture, nodes: readonly Node[], fields: object = {}): Promise<string> {
  const { id } = await call<{ id: string }>(server, "executions.create", {
    document: documentOf(fields),
    targets: { nodes: nodes.map(({ id: node }) => node) },
    concurrency: nodes.length,
  })
  return id
}

const getRun = (server: ServerFixture, id: string) =>
  call<{ state: string; counts: Record<string, number>; inFlight: number }>(server, "executions.get", { execution: id })

const waitForRun = (server: ServerFixture, id: string, state: string) =>
  vi.waitFor(async () => expect(await getRun(server, id)).toMatchObject({ state }), waits)

const waitForStarts = (nodes: readonly Node[], count = 1) =>
  vi.waitFor(() => expect(nodes.map(({ starts }) => starts.length)).toEqual(nodes.map(() => count)), waits)

describe("X12, W9: two servers that share their nodes", () => {
  test("a run reaches nodes of both, whichever owns it; each attempt is told once and acknowledged", async () => {
    const nodes = await addNodes(6, byTurns)
    await call(one, "secrets.put", { name: "password", value: "hunter2hunter2" })
    const document = { steps: [{ run: "echo ${{ secrets.password }}" }] }
    for (const server of [one, two]) {
      const id = await startRun(server, nodes, document)
      await waitForRun(server, id, "succeeded")
      for (const node of nodes) {
        await vi.waitFor(() => expect(node.acknowledged).toContain(node.starts.at(-1)?.key), waits)
        expect(node.starts.at(-1)?.secrets).toEqual({ password: "hunter2hunter2" })
      }
    }
    await waitForStarts(nodes, 2)
    await vi.waitFor(async () => {
      const rows = await one.test.database.query("select 1 from agent_inbox union all select 1 from agent_outbox")
      expect(rows).toEqual([])
    }, waits)
    for (const { session } of nodes) session?.end()
  })

  test("an abort that kills, asked of either server, reaches nodes of both", async () => {
    for (const server of [one, two]) {
      const nodes = await addNodes(4, byTurns)
      for (const node of nodes) node.finishes = false
      const id = await startRun(one, nodes)
      await waitForStarts(nodes)
      await call(server, "executions.abort", { execution: id, mode: "kill" })
      await vi.waitFor(() => expect(nodes.map(({ kills }) => kills.length)).toEqual([1, 1, 1, 1]), waits)
      for (const { session, starts } of nodes)
        session?.send({ type: "task-finished", key: starts[0]?.key, outcome: { state: "aborted", steps: [] } })
      await waitForRun(two, id, "aborted")
      for (const { session } of nodes) session?.end()
    }
  })

  test("a node that goes to the other server in the middle of its task goes on there", async () => {
    const nodes = await addNodes(4, byTurns)
    for (const node of nodes) node.finishes = false
    const id = await startRun(one, nodes)
    await waitForStarts(nodes)
    for (const [index, node] of nodes.entries()) {
      const before = node.session
      await node.connect(byTurns(index + 1))
      // The older session is over, though its connection never ended.
      if (before) await (before.closed ?? once(before.socket, "close"))
      node.finish(node.starts[0]?.key ?? "")
    }
    await waitForRun(two, id, "succeeded")
    await vi.waitFor(() => expect(nodes.map(({ acknowledged }) => acknowledged.length)).toEqual([1, 1, 1, 1]), waits)
    for (const { id: node } of nodes)
      await vi.waitFor(
        async () => expect(await call(one, "nodes.get", { node })).toMatchObject({ state: "online" }),
        waits,
      )
    await waitForStarts(nodes)
    for (const { session } of nodes) session?.end()
  })

  test("an order for a node that is nowhere waits, and goes to the server that the node comes to", async () => {
    const [node] = await addNodes(1, () => one)
    if (!node) throw new Error("a node was made")
    for (const [owner, home] of [
      [one, two],
      [two, one],
    ] as const) {
      node.session?.end()
      await vi.waitFor(async () => {
        expect(await call(one, "nodes.get", { node: node.id })).toMatchObject({ state: "offline" })
      }, waits)
      const id = await startRun(owner, [node])
      await vi.waitFor(async () => expect(await getRun(one, id)).toMatchObject({ inFlight: 1 }), waits)
      await node.connect(home)
      await waitForRun(owner, id, "succeeded")
    }
    node.session?.end()
  })

  test("health checks run on nodes of the other server", async () => {
    const nodes = await addNodes(2, byTurns)
    for (const probed of nodes) {
      const health = { run: "true", on: probed.id, every: "100ms", timeout: "10s", failures: 3 }
      for (const node of nodes) node.finishes = false
      const id = await startRun(one, nodes, { health })
      await vi.waitFor(async () => {
        expect(await getRun(two, id)).toMatchObject({ health: { ok: true } })
      }, waits)
      for (const node of nodes) {
        await vi.waitFor(() => expect(node.starts.some(({ key }) => key.startsWith(id))).toBe(true), waits)
        node.finish(node.starts.find(({ key }) => key.startsWith(id))?.key ?? "")
      }
      await waitForRun(two, id, "succeeded")
    }
    for (const { session } of nodes) session?.end()
  })

  test("who follows a run on either server sees progress and output of nodes of both", async () => {
    const nodes = await addNodes(2, byTurns)
    for (const node of nodes) node.finishes = false
    const id = await startRun(one, nodes)
    await waitForStarts(nodes)
    const stop = new AbortController()
    const followed = [follow(one, id, stop.signal), follow(two, id, stop.signal)]
    const text = `\u0000 ${"é".repeat(2_000)} the end`
    // Those who begin to follow are heard of a moment later.
    const telling = setInterval(() => {
      for (const { session, starts, id: node } of nodes) {
        const at = { key: starts[0]?.key, step: 0 }
        session?.send({ type: "progress", ...at, stepsCount: 1, name: `step of ${node}`, percent: 50 })
        session?.send({ type: "output", ...at, stream: "stdout", text: `${node}: ${text}`, offset: 0 })
      }
    }, 300)
    await vi.waitFor(() => {
      for (const seen of followed) {
        for (const { id: node } of nodes) {
          expect(seen.text).toContain(`step of ${node}`)
          expect(seen.output).toContain(`${node}: \u0000`)
        }
        expect(seen.output.split("é the end").length).toBeGreaterThan(2)
      }
    }, waits)
    clearInterval(telling)
    stop.abort()
    for (const node of nodes) node.finish(node.starts[0]?.key ?? "")
    await waitForRun(two, id, "succeeded")
    for (const { session } of nodes) session?.end()
  })

  test("a third server changes nobody's presence, neither when it starts nor when it ends", async () => {
    const nodes = await addNodes(2, byTurns)
    const states = () =>
      Promise.all(nodes.map(async ({ id }) => (await call<{ state: string }>(one, "nodes.get", { node: id })).state))
    await vi.waitFor(async () => expect(await states()).toEqual(["online", "online"]), waits)
    const three = await one.another()
    expect(await states()).toEqual(["online", "online"])
    const events = await one.test.database.query<{ type: string }>(
      "select type from outbox where type = 'node.disconnected' and aggregate_id = any ($1::text[])",
      [nodes.map(({ id }) => id)],
    )
    expect(events).toEqual([])
    await three.halt()
    expect(await states()).toEqual(["online", "online"])
    for (const { session } of nodes) session?.end()
  })
})
