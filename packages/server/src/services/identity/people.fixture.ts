import type { Clock } from "@signalbox/kernel/clock"
import { expect } from "vitest"
import {
  startServerFixture,
  type Answer,
  type ServerFixture,
  type ServerFixtureOptions,
} from "../../http/edge.fixture.ts"
import type { Authenticator } from "../../router/ports.ts"
import { watchConfiguration } from "../../storage/configuration-versions.ts"
import { systemRandom } from "../../system.ts"
import { createIdentityService } from "./service.ts"
import type { IdentityOptions } from "./options.ts"

/** A clock that tests move on. */
export class MovableClock implements Clock {
  offset = 0
  now(): number {
    return Date.now() + this.offset
  }
}

/** Fast; what it is worth is tested apart. */
export const cheapCost = { log2N: 8, r: 8, p: 1 }
export const sessionLimits = { lifetimeMilliseconds: 7 * 86_400_000, idleMilliseconds: 86_400_000 }
export const goodPassword = "correct horse battery"

export interface PeopleFixture extends ServerFixture {
  readonly clock: MovableClock
  /** Another server of the same installation, as far as it knows credentials. */
  readonly other: OtherServer
  admin(method: string, path: string, body?: unknown): Promise<Answer>
  /** Makes a user with a password; gives the id. */
  makeUser(name: string, more?: Record<string, unknown>): Promise<string>
  logIn(user: string, password?: string): Promise<Answer>
  /** Logs in and gives the token. */
  tokenOf(user: string): Promise<string>
  /** Whether a token is good here. */
  isGood(token: string): Promise<boolean>
}

export interface OtherServer {
  isGood(token: string): Promise<boolean>
  flush(): Promise<void>
  stop(): Promise<void>
}

export async function startPeopleFixture(options: ServerFixtureOptions = {}): Promise<PeopleFixture> {
  const clock = new MovableClock()
  const server = await startServerFixture({ clock, passwordCost: cheapCost, sessions: sessionLimits, ...options })
  const admin: PeopleFixture["admin"] = (...request) => server.call(server.platformKey, ...request)
  const logIn: PeopleFixture["logIn"] = (user, password = goodPassword) =>
    server.call(undefined, "POST", "/v1/user-sessions", { user, password })
  const other = await startOtherServer(server, clock)
  return {
    ...server,
    clock,
    other,
    admin,
    logIn,
    async makeUser(name, more = {}) {
      const made = await admin("POST", "/v1/users", { name, ...more })
      expect(made.status, JSON.stringify(made.body)).toBe(200)
      const redeem = { user: name, code: made.body["code"], password: goodPassword }
      const set = await server.call(undefined, "POST", "/v1/passwords:redeem", redeem)
      expect(set.status, JSON.stringify(set.body)).toBe(200)
      return String(made.body["id"])
    },
    async tokenOf(user) {
      const answer = await logIn(user)
      expect(answer.status, JSON.stringify(answer.body)).toBe(200)
      return String(answer.body["token"])
    },
    isGood: async (token) => (await server.call(token, "GET", "/v1/auth/whoami")).status === 200,
    async stop() {
      await other.stop()
      await server.stop()
    },
  }
}

async function startOtherServer(server: ServerFixture, clock: Clock): Promise<OtherServer> {
  const { database } = server.test
  const nothing = () => Promise.resolve({})
  const options: IdentityOptions = {
    ...{ database, clock, random: systemRandom, operations: server.composition.operations },
    logger: { warn: () => undefined },
    sessions: sessionLimits,
    secrets: { read: nothing, readVersions: nothing, versions: nothing },
    egress: { request: () => Promise.reject(new Error("nothing leaves here")) },
    configurationChanged: () => undefined,
  }
  const identity = createIdentityService(options)
  const watcher = await watchConfiguration({
    sql: database,
    listeners: identity.listeners,
    onError: (error) => {
      throw error
    },
  })
  const authenticate = async (authenticator: Authenticator, token: string): Promise<boolean> =>
    (await authenticator.authenticate({ token, now: clock.now() })) !== undefined
  await identity.service.start?.()
  return {
    async isGood(token) {
      for (const authenticator of identity.authenticators) if (await authenticate(authenticator, token)) return true
      return false
    },
    async flush() {
      await identity.service.stop?.()
      await identity.service.start?.()
    },
    async stop() {
      await identity.service.stop?.()
      await watcher.stop()
    },
  }
}

/** Waits until something holds, which it does within a second on a machine that has time; gives how long it took. */
export async function eventually(condition: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 30_000
  while (!(await condition())) expect(Date.now(), "it holds in time").toBeLessThan(end)
}
