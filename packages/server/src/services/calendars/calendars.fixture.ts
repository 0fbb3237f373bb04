import { expect } from "vitest"
import { newPublicKey, startServerFixture, type Answer, type ServerFixture } from "../../http/edge.fixture.ts"

/** A whole server whose clock a test can put forward, with one node and one workflow to run on it. */
export interface CalendarsFixture {
  readonly server: ServerFixture
  readonly key: string
  /** Puts the server's clock forward; it goes on from there. */
  advance(milliseconds: number): void
  now(): number
  call(method: string, path: string, body?: unknown): Promise<Answer>
  /** Waits until a schedule's newest firing has an outcome. */
  settledFiring(schedule: string): Promise<Record<string, unknown>>
  firings(schedule: string): Promise<Array<Record<string, unknown>>>
  executions(): Promise<Array<Record<string, unknown>>>
  stop(): Promise<void>
}

const waitMilliseconds = 30_000

export async function until<T>(what: string, find: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + waitMilliseconds
  while (true) {
    const found = await find()
    if (found !== undefined) return found
    expect(Date.now(), what).toBeLessThan(end)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export async function startCalendarsFixture(): Promise<CalendarsFixture> {
  let ahead = 0
  const now = (): number => Date.now() + ahead
  const server = await startServerFixture({ clock: { now } })
  const key = server.platformKey
  const call: CalendarsFixture["call"] = (method, path, body) => server.call(key, method, path, body)
  const list = async (path: string) => (await call("GET", path)).body["items"] as Array<Record<string, unknown>>
  const document = 'kind: Workflow\nname: work\nsteps:\n  - name: one\n    run: ["true"]\n'
  const enrollment = await call("POST", "/v1/enrollment-keys", {})
  const enrolled = await server.call(String(enrollment.body["key"]), "POST", "/v1/nodes:enroll", {
    name: "node-1",
    machineId: "machine-1",
    publicKey: newPublicKey(),
  })
  expect(enrolled.status, JSON.stringify(enrolled.body)).toBe(200)
  expect((await call("PUT", "/v1/workflows/work", { document })).status).toBe(200)
  const firings = (schedule: string) => list(`/v1/schedules/${schedule}/firings`)
  return {
    server,
    key,
    advance: (milliseconds) => void (ahead += milliseconds),
    now,
    call,
    firings,
    settledFiring: (schedule) =>
      until(`a firing of ${schedule} has an outcome`, async () => {
        const [newest] = await firings(schedule)
        return newest?.["outcome"] === "pending" ? undefined : newest
      }),
    executions: () => list("/v1/executions"),
    stop: () => server.stop(),
  }
}

/** A call that starts the fixture's workflow on its node. */
export const runWork = { input: { workflow: "work", targets: { nodes: ["node-1"] } } }
