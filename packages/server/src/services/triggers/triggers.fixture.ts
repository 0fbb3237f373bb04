/** A whole server with machines whose agents say exactly what a test tells them to. */
import { expect } from "vitest"
import { startServerFixture, type ServerFixture } from "../../http/edge.fixture.ts"
import { TestMachine, type Reachable, type TestSession } from "../fleet/fleet.fixture.ts"

export interface TriggersFixture {
  readonly server: ServerFixture
  readonly key: string
  put(path: string, body: object): Promise<Record<string, unknown>>
  get(path: string): Promise<Record<string, unknown>>
  remove(path: string): Promise<void>
  machine(name: string, tags?: Record<string, string>): Promise<TestMachine>
  /** The events of these types, in the order in which they were written. */
  events(...types: string[]): Promise<StoredEvent[]>
}

export interface StoredEvent {
  readonly type: string
  readonly subject: string
  readonly data: Record<string, unknown>
}

export function reachable(server: ServerFixture, key: string): Reachable {
  return {
    url: server.url,
    call: async <T>(operation: string, input: object, options: { token?: string } = {}) => {
      const answer = await server.call(options.token ?? key, "POST", `/v1/operations/${operation}`, input)
      expect(answer.status, JSON.stringify(answer.body)).toBe(200)
      return answer.body as T
    },
  } as Reachable
}

export async function startTriggersFixture(): Promise<TriggersFixture> {
  const server = await startServerFixture()
  const key = server.platformKey
  const call = async (method: string, path: string, body?: object) => {
    const answer = await server.call(key, method, path, body)
    expect(answer.status, JSON.stringify(answer.body)).toBe(200)
    return answer.body
  }
  return {
    server,
    key,
    put: (path, body) => call("PUT", path, body),
    get: (path) => call("GET", path),
    remove: async (path) => void (await call("DELETE", path)),
    async machine(name, tags = {}) {
      const to = reachable(server, key)
      const enrollment = await to.call<{ key: string }>("enrollment-keys.create", { tags })
      const machine = new TestMachine()
      await machine.enroll(to, enrollment.key, { name })
      return machine
    },
    async events(...types) {
      return server.test.database.query<StoredEvent>(
        "select type, subject, data from outbox where type = any ($1) order by xid, subject, subject_version",
        [types],
      )
    },
  }
}

/** An agent that says what it is told to; it waits until it is asked for as many figures as are named. */
export class Meter {
  readonly session: TestSession
  #ids: string[] = []

  private constructor(session: TestSession) {
    this.session = session
  }

  static async connect(server: ServerFixture, machine: TestMachine): Promise<Meter> {
    return new Meter(await machine.connect(reachable(server, "")))
  }

  /** What it is asked to measure next. */
  async asked() {
    const { watches } = await this.session.waitFor("watch-metrics")
    this.#ids = watches.map(({ id }) => id)
    return watches
  }

  /** Says this of everything that it measures. */
  say(value: number): void {
    this.session.send({ type: "metrics", samples: this.#ids.map((id) => ({ id, value })) })
  }

  fail(problem: string): void {
    this.session.send({ type: "metrics", samples: this.#ids.map((id) => ({ id, problem })) })
  }
}
