import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { eventually, goodPassword, startPeopleFixture, type PeopleFixture } from "./people.fixture.ts"
import { attemptLimits } from "./login-attempts.ts"

let server: PeopleFixture

beforeAll(async () => {
  server = await startPeopleFixture()
})

afterAll(() => server.stop())

beforeEach(() => server.test.database.query("delete from login_attempts"))

/** Both servers refuse it. */
async function refusedEverywhere(token: string): Promise<void> {
  await eventually(async () => !(await server.isGood(token)) && !(await server.other.isGood(token)))
}

describe("X1: a user", () => {
  test("is made with a one-time code, sets a password, logs in, and is known by a stable id", async () => {
    const made = await server.admin("POST", "/v1/users", {
      name: "ann",
      displayName: "Ann Lee",
      email: "ann@example.org",
      roles: ["operator"],
      teams: ["sre", "sre"],
    })
    expect(made.body).toMatchObject({ name: "ann", teams: ["sre"], hasPassword: false, disabled: false })
    const { code } = made.body
    expect(code).toMatch(/^[0-9a-z]{4}(?:-[0-9a-z]{4}){4}$/)
    const redeem = { user: "ann", code: String(code).toUpperCase().replaceAll("-", " "), password: goodPassword }
    expect((await server.call(undefined, "POST", "/v1/passwords:redeem", redeem)).status).toBe(200)
    expect((await server.call(undefined, "POST", "/v1/passwords:redeem", redeem)).body.code).toBe(
      "identity.login-refused",
    )
    const login = await server.logIn("ann")
    expect(login.body).toMatchObject({ name: "ann", account: "main", user: made.body["id"] })
    const who = await server.call(String(login.body["token"]), "GET", "/v1/auth/whoami")
    expect(who.body).toMatchObject({
      principal: made.body["id"],
      kind: "user",
      name: "ann",
      credential: login.body["session"],
      roles: ["member", "operator"],
      teams: ["sre"],
    })
    const done = await server.call(String(login.body["token"]), "PUT", "/v1/groups/anns", { query: "role=web" })
    expect(done.status).toBe(200)
    const audit = await server.test.database.query("select principal from audit where operation = 'groups.put'")
    expect(audit).toEqual([{ principal: made.body["id"] }])
  })

  test("leaves neither password, code nor token in the database", async () => {
    await server.makeUser("secretive")
    const token = await server.tokenOf("secretive")
    const reset = await server.admin("POST", "/v1/users/secretive:reset-password", {})
    const tables = await server.test.database.query<{ name: string }>(
      "select relname as name from pg_class where relkind = 'r' and relnamespace = current_schema()::regnamespace",
    )
    const code = String(reset.body["code"])
    const secrets = [goodPassword, token, token.slice(-52), code, code.replaceAll("-", "")]
    for (const { name } of tables) {
      const text = JSON.stringify(await server.test.database.query(`select * from "${name}"`))
      for (const secret of secrets) expect(text, name).not.toContain(secret)
    }
  })

  test("a code is used once, whoever comes first; an old one is not used at all", async () => {
    const made = await server.admin("POST", "/v1/users", { name: "coded" })
    const redeem = (password: string) =>
      server.call(undefined, "POST", "/v1/passwords:redeem", { user: "coded", code: made.body["code"], password })
    const answers = await Promise.all(["password number one", "password number two"].map(redeem))
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 401])
    const late = await server.admin("POST", "/v1/users", { name: "late" })
    server.clock.offset += 73 * 3_600_000
    const answer = await server.call(undefined, "POST", "/v1/passwords:redeem", {
      user: "late",
      code: late.body["code"],
      password: goodPassword,
    })
    server.clock.offset = 0
    expect(answer.body.code).toBe("identity.login-refused")
  })

  test("unfit passwords are refused before anything changes", async () => {
    const made = await server.admin("POST", "/v1/users", { name: "unfit.unfit.unfit", email: "somebody@example.org" })
    const codeOf = async (password: string) =>
      (
        await server.call(undefined, "POST", "/v1/passwords:redeem", {
          user: "unfit.unfit.unfit",
          code: made.body["code"],
          password,
        })
      ).body.code
    expect(await codeOf("short")).toBe("request.invalid-input")
    expect(await codeOf("x".repeat(257))).toBe("request.invalid-input")
    expect(await codeOf("aaaaaaaaaaaabbbb")).toBe("identity.password-unfit")
    expect(await codeOf("Unfit.Unfit.Unfit")).toBe("identity.password-unfit")
    expect(await codeOf("somebody@example.org")).toBe("identity.password-unfit")
    expect(await codeOf(goodPassword)).toBeUndefined()
  })

  test("a wrong password, an unknown user, a disabled one and an unknown account are told the same", async () => {
    await server.makeUser("there")
    await server.makeUser("disabled")
    await server.admin("POST", "/v1/users/disabled:disable", {})
    const attempts = [
      { user: "there", password: "wrong password!" },
      { user: "nobody", password: goodPassword },
      { user: "disabled", password: goodPassword },
      { user: "there", password: goodPassword, account: "no-such-account" },
    ]
    const answers = []
    for (const attempt of attempts) answers.push(await server.call(undefined, "POST", "/v1/user-sessions", attempt))
    const told = answers.map(({ status, body }) =>
      JSON.stringify([status, body["code"], body["detail"], body["details"]]),
    )
    expect(new Set(told).size).toBe(1)
    expect(answers[0]).toMatchObject({ status: 401, body: { code: "identity.login-refused" } })
    const records = await server.test.database.query(
      `select u.name from audit a join users u on u.id = a.subject
       where a.operation = 'user-sessions.create' and a.outcome = 'identity.login-refused' and u.name in ('there', 'disabled')`,
    )
    expect(records).toHaveLength(2)
  })

  test("bad input of those without credentials is refused with a code", async () => {
    const codeOf = async (body: unknown) => (await server.call(undefined, "POST", "/v1/user-sessions", body)).body.code
    const base = { user: "ann", password: goodPassword }
    for (const account of ["", "*", "a_b", "x".repeat(33), 5, null, { a: 1 }, "main\u0000"])
      expect(await codeOf({ ...base, account }), JSON.stringify(account)).toBe("request.invalid-input")
    expect(await codeOf({ ...base, more: 1 })).toBe("request.invalid-input")
    expect(await codeOf({ ...base, user: "a\u0000b" })).toMatch(/^request\./)
    expect(await codeOf({ user: "ann" })).toBe("request.invalid-input")
    expect(await codeOf([])).toBe("request.invalid-input")
    expect(await codeOf({ ...base, user: "' or 1=1 --" })).toBe("identity.login-refused")
    const byName = await server.call(undefined, "POST", "/v1/operations/user-sessions.create", base)
    expect(byName.body.code).toBe(undefined)
    const whoami = await server.call("sbx_main_uss0000000000000000000000000_".padEnd(89, "0"), "GET", "/v1/auth/whoami")
    expect(whoami.body.code).toBe("identity.invalid-credentials")
  })
})

describe("X1: attempts", () => {
  test("of a user are limited, right password or wrong, and others can still log in", async () => {
    await server.makeUser("guessed")
    await server.makeUser("beside")
    await server.test.database.query("delete from login_attempts")
    for (let i = 0; i < attemptLimits.perUserMax; i++)
      expect((await server.logIn("guessed", `wrong guess ${i}`)).status).toBe(401)
    const limited = await server.logIn("guessed")
    expect(limited).toMatchObject({ status: 429, body: { code: "identity.too-many-attempts" } })
    expect((limited.body["details"] as { retryAfterSeconds: number }).retryAfterSeconds).toBeGreaterThan(0)
    expect((await server.logIn("beside")).status).toBe(200)
    server.clock.offset += attemptLimits.windowMilliseconds + 1000
    expect((await server.logIn("guessed")).status).toBe(200)
    server.clock.offset = 0
  })

  test("at the same time count like those one after another", async () => {
    await server.makeUser("raced")
    await server.test.database.query("delete from login_attempts")
    const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => server.logIn("raced", `wrong guess ${i}`)))
    const statuses = answers.map(({ status }) => status)
    expect(statuses.filter((status) => status === 401)).toHaveLength(attemptLimits.perUserMax)
    expect(statuses.filter((status) => status === 429)).toHaveLength(30 - attemptLimits.perUserMax)
  })

  test("from one address are limited, whatever the names", async () => {
    await server.makeUser("victim")
    await server.test.database.query("delete from login_attempts")
    for (let i = 0; i < attemptLimits.perAddressMax; i++)
      expect((await server.logIn(`nobody-${i}`)).status, `attempt ${i}`).toBe(401)
    expect((await server.logIn("victim")).body.code).toBe("identity.too-many-attempts")
  })
})

describe("X1: a session", () => {
  test("is listed, and others' sessions are for administrators", async () => {
    await server.makeUser("lister", { roles: ["operator"] })
    await server.makeUser("listed")
    const [token, other] = [await server.tokenOf("lister"), await server.tokenOf("listed")]
    const own = await server.call(token, "GET", "/v1/user-sessions")
    expect(own.body["items"]).toMatchObject([{ name: "lister", current: true }])
    expect((await server.call(token, "GET", "/v1/user-sessions?user=listed")).status).toBe(403)
    expect((await server.call(token, "GET", "/v1/user-sessions?user=no-such-user")).status).toBe(403)
    const listed = await server.admin("GET", "/v1/user-sessions?user=listed")
    expect(listed.body["items"]).toMatchObject([{ name: "listed", current: false, sourceAddress: "127.0.0.1" }])
    const [{ id }] = listed.body["items"] as [{ id: string }]
    const stolen = await server.call(token, "POST", `/v1/user-sessions/${id}:revoke`, {})
    expect(stolen.body.code).toBe("identity.session-not-found")
    expect(await server.isGood(other)).toBe(true)
    expect((await server.admin("GET", "/v1/user-sessions")).body.code).toBe("identity.not-a-session")
  })

  test("ends on every server when it logs out or is revoked", async () => {
    await server.makeUser("ender")
    const tokens = [await server.tokenOf("ender"), await server.tokenOf("ender"), await server.tokenOf("ender")]
    const [first = "", second = "", third = ""] = tokens
    for (const token of tokens) expect(await server.other.isGood(token)).toBe(true)
    expect((await server.call(first, "POST", "/v1/auth/logout", {})).status).toBe(200)
    await refusedEverywhere(first)
    const left = await server.call(second, "GET", "/v1/user-sessions")
    expect(left.body["items"]).toHaveLength(2)
    expect((await server.call(second, "POST", "/v1/user-sessions:revoke-all", {})).body).toMatchObject({ revoked: 1 })
    await refusedEverywhere(third)
    expect(await server.isGood(second)).toBe(true)
    const [{ id }] = (await server.call(second, "GET", "/v1/user-sessions")).body["items"] as [{ id: string }]
    expect((await server.admin("POST", `/v1/user-sessions/${id}:revoke`, {})).status).toBe(200)
    await refusedEverywhere(second)
  })

  test("ends after its lifetime, used or not, and earlier where it isn't used", async () => {
    await server.makeUser("idler")
    const [idle, used] = [await server.tokenOf("idler"), await server.tokenOf("idler")]
    const hours = (count: number): void => void (server.clock.offset += count * 3_600_000)
    hours(23)
    expect(await server.isGood(used)).toBe(true)
    hours(2)
    expect(await server.isGood(idle)).toBe(false)
    expect(await server.isGood(used)).toBe(true)
    expect((await server.call(used, "GET", "/v1/user-sessions")).status).toBe(200)
    for (let day = 0; day < 6; day++) {
      expect(await server.isGood(used)).toBe(true)
      hours(23)
    }
    expect(await server.isGood(used)).toBe(true)
    hours(5)
    expect(await server.isGood(used)).toBe(false)
    server.clock.offset = 0
  })

  test("that is used on one server isn't idle on another", async () => {
    await server.makeUser("roamer")
    const token = await server.tokenOf("roamer")
    expect(await server.other.isGood(token)).toBe(true)
    server.clock.offset += 23 * 3_600_000
    expect(await server.other.isGood(token)).toBe(true)
    await server.other.flush()
    server.clock.offset += 23 * 3_600_000
    expect(await server.isGood(token)).toBe(true)
    server.clock.offset = 0
  })

  test("beyond so many of a user takes the place of the one used least recently", async () => {
    await server.makeUser("many")
    const first = await server.tokenOf("many")
    let last = first
    for (let i = 0; i < 50; i++) last = await server.tokenOf("many")
    await refusedEverywhere(first)
    expect(await server.isGood(last)).toBe(true)
    const { body } = await server.admin("GET", "/v1/user-sessions?user=many")
    expect(body["items"]).toHaveLength(50)
  })
})

describe("X1: disabling", () => {
  test("a user ends their sessions and their keys everywhere; enabling brings back the keys alone", async () => {
    const id = await server.makeUser("leaver", { roles: ["operator"] })
    const session = await server.tokenOf("leaver")
    const made = await server.admin("POST", "/v1/keys", { name: "laptop", roles: ["viewer"], owner: "leaver" })
    expect(made.body).toMatchObject({ owner: id })
    const key = String(made.body["key"])
    await eventually(async () => (await server.isGood(key)) && (await server.other.isGood(key)))
    expect((await server.admin("POST", "/v1/users/leaver:disable", {})).body).toMatchObject({ disabled: true })
    await Promise.all([refusedEverywhere(session), refusedEverywhere(key)])
    expect((await server.admin("POST", "/v1/users/leaver:enable", {})).body).toMatchObject({ disabled: false })
    await eventually(async () => (await server.isGood(key)) && (await server.other.isGood(key)))
    expect(await server.isGood(session)).toBe(false)
  })

  test("a service account ends its keys everywhere", async () => {
    const robot = { name: "robot", roles: ["operator"], teams: ["builds"] }
    const account = await server.admin("POST", "/v1/service-accounts", robot)
    const made = await server.admin("POST", "/v1/keys", { name: "ci", roles: ["operator"], owner: "robot" })
    const key = String(made.body["key"])
    await eventually(async () => (await server.isGood(key)) && (await server.other.isGood(key)))
    const who = await server.call(key, "GET", "/v1/auth/whoami")
    expect(who.body).toMatchObject({
      principal: account.body["id"],
      kind: "service-account",
      credential: made.body["id"],
      teams: ["builds"],
    })
    await server.admin("POST", "/v1/service-accounts/robot:disable", {})
    await refusedEverywhere(key)
  })

  test("during logins leaves no session behind", async () => {
    await server.makeUser("contested")
    const logins = Array.from({ length: 8 }, () => server.logIn("contested"))
    const [, ...answers] = await Promise.all([server.admin("POST", "/v1/users/contested:disable", {}), ...logins])
    for (const { status, body } of answers) {
      expect([200, 401]).toContain(status)
      if (status === 200) await refusedEverywhere(String(body["token"]))
    }
    const open = await server.test.database.query(
      "select 1 from user_sessions s join users u on u.id = s.user_id where u.name = 'contested' and revoked_at is null",
    )
    expect(open).toEqual([])
  })
})

describe("X1: a password", () => {
  test("is changed with the current one; all other sessions end", async () => {
    await server.makeUser("changer")
    const [token, other] = [await server.tokenOf("changer"), await server.tokenOf("changer")]
    const change = (body: unknown, by = token) => server.call(by, "POST", "/v1/passwords:change", body)
    const password = "another good password"
    expect((await change({ current: "not this one", password })).body.code).toBe("identity.wrong-password")
    expect((await change({ current: goodPassword, password: goodPassword })).body.code).toBe("identity.password-unfit")
    expect((await change({ current: goodPassword, password }, server.platformKey)).body.code).toBe(
      "identity.not-a-session",
    )
    expect((await change({ current: goodPassword, password })).status).toBe(200)
    await refusedEverywhere(other)
    expect(await server.isGood(token)).toBe(true)
    expect((await server.logIn("changer")).status).toBe(401)
    expect((await server.logIn("changer", password)).status).toBe(200)
  })

  test("that was reset opens nothing, and the code makes a new one", async () => {
    await server.makeUser("forgetful")
    const token = await server.tokenOf("forgetful")
    const reset = await server.admin("POST", "/v1/users/forgetful:reset-password", {})
    expect(reset.body).toMatchObject({ hasPassword: false })
    await refusedEverywhere(token)
    expect((await server.logIn("forgetful")).status).toBe(401)
    const redeem = { user: "forgetful", code: reset.body["code"], password: "a new good password" }
    expect((await server.call(undefined, "POST", "/v1/passwords:redeem", redeem)).status).toBe(200)
    expect((await server.logIn("forgetful", redeem.password)).status).toBe(200)
  })

  test("is written anew with today's parameters at the next login", async () => {
    await server.makeUser("older")
    const hashOf = async (): Promise<string> => {
      const [row] = await server.test.database.query<{ hash: string }>(
        "select password_hash as hash from users where name = 'older'",
      )
      return row?.hash ?? ""
    }
    const { createPasswords } = await import("./password.ts")
    const { systemRandom } = await import("../../system.ts")
    const older = await createPasswords({ random: systemRandom, cost: { log2N: 6, r: 4, p: 1 } }).hash(goodPassword)
    await server.test.database.query("update users set password_hash = $1 where name = 'older'", [older])
    expect((await server.logIn("older")).status).toBe(200)
    expect(await hashOf()).toMatch(/^\$scrypt\$ln=8,r=8,p=1\$/)
    expect((await server.logIn("older")).status).toBe(200)
  })
})

describe("X1: a key of somebody", () => {
  test("can do no more than its owner can now", async () => {
    await server.makeUser("owner", { roles: ["admin"] })
    const made = await server.admin("POST", "/v1/keys", { name: "wide", roles: ["admin"], owner: "owner" })
    const key = String(made.body["key"])
    const rolesOf = async () => (await server.call(key, "GET", "/v1/auth/whoami")).body["roles"]
    await eventually(async () => JSON.stringify(await rolesOf()) === '["admin","member"]')
    await server.admin("PATCH", "/v1/users/owner", { roles: ["operator"] })
    await eventually(async () => JSON.stringify(await rolesOf()) === '["member","operator"]')
    expect((await server.call(key, "GET", "/v1/keys")).status).toBe(403)
  })

  test("that a user makes is theirs; one of a key without owner belongs to nobody until it is assigned", async () => {
    const id = await server.makeUser("maker", { roles: ["admin"] })
    const token = await server.tokenOf("maker")
    const own = await server.call(token, "POST", "/v1/keys", { name: "mine", roles: ["viewer"] })
    expect(own.body).toMatchObject({ owner: id })
    const loose = await server.admin("POST", "/v1/keys", { name: "loose", roles: ["viewer"] })
    expect(loose.body).not.toHaveProperty("owner")
    const key = String(loose.body["key"])
    await eventually(() => server.isGood(key))
    const whois = async () => (await server.call(key, "GET", "/v1/auth/whoami")).body["principal"]
    expect(await whois()).toBe(`key:${String(loose.body["id"])}`)
    const assign = () => server.admin("POST", `/v1/keys/${String(loose.body["id"])}:assign`, { owner: "maker" })
    expect((await assign()).body).toMatchObject({ owner: id })
    await eventually(async () => (await whois()) === id)
    expect((await assign()).body.code).toBe("identity.key-owned")
    const nobody = await server.admin("POST", "/v1/keys", { name: "x", roles: ["viewer"], owner: "no-such-owner" })
    expect(nobody.body.code).toBe("identity.principal-not-found")
  })
})

describe("X2: nobody gets more authority than they have", () => {
  let admin: string
  beforeAll(async () => {
    await server.makeUser("administrator", { roles: ["admin"] })
    await server.makeUser("root", { roles: ["platform"] })
    const fleet = { name: "fleet-owner", roles: ["platform"] }
    expect((await server.admin("POST", "/v1/service-accounts", fleet)).status).toBe(200)
    admin = await server.tokenOf("administrator")
  })

  test.each([
    [
      "a user with a wider role",
      "identity.role-not-grantable",
      "POST",
      "/v1/users",
      { name: "n", roles: ["platform"] },
    ],
    [
      "a wider role for a user",
      "identity.role-not-grantable",
      "PATCH",
      "/v1/users/administrator",
      { roles: ["platform"] },
    ],
    [
      "a service account with a wider role",
      "identity.role-not-grantable",
      "POST",
      "/v1/service-accounts",
      { name: "n", roles: ["platform"] },
    ],
    [
      "another e-mail address of a wider user",
      "identity.outranked",
      "PATCH",
      "/v1/users/root",
      { email: "me@example.org" },
    ],
    ["the password of a wider user", "identity.outranked", "POST", "/v1/users/root:reset-password", {}],
    ["a wider user's way in", "identity.outranked", "POST", "/v1/users/root:disable", {}],
    ["a wider user's sessions", "identity.outranked", "POST", "/v1/user-sessions:revoke-all", { user: "root" }],
    [
      "a key in a wider user's name",
      "identity.outranked",
      "POST",
      "/v1/keys",
      { name: "n", roles: ["viewer"], owner: "root" },
    ],
    ["a wider service account", "identity.outranked", "PATCH", "/v1/service-accounts/fleet-owner", { teams: ["mine"] }],
    [
      "a provider whose groups give a wider role",
      "identity.role-not-grantable",
      "PUT",
      "/v1/identity-providers/mine",
      { issuer: "https://id.example.org", clientId: "x", groups: [{ group: "g", roles: ["platform"] }] },
    ],
  ])("%s is refused to an administrator of the account", async (_what, code, ...request) => {
    const answer = await server.call(admin, ...(request as [string, string, unknown]))
    expect([answer.status, answer.body.code]).toEqual([403, code])
  })

  test("a provider that wider users log in by is theirs to change", async () => {
    const provider = { issuer: "https://id.example.org", clientId: "x" }
    expect((await server.admin("PUT", "/v1/identity-providers/corporate", provider)).status).toBe(200)
    const change = { ...provider, issuer: "https://evil.example.org" }
    const waiting = { name: "boss", email: "boss@example.org", roles: ["platform"], provider: "corporate" }
    expect((await server.admin("POST", "/v1/users", waiting)).body).not.toHaveProperty("code")
    for (const request of [
      ["PUT", "/v1/identity-providers/corporate", change],
      ["DELETE", "/v1/identity-providers/corporate"],
    ] as const)
      expect((await server.call(admin, ...(request as [string, string, unknown]))).body.code).toBe("identity.outranked")
    expect((await server.admin("POST", "/v1/users/boss:reset-password", {})).body.code).toBe("identity.no-password")
  })
})

describe("X1: principals", () => {
  test("are listed by kind and team, and found by id or name, disabled ones too", async () => {
    const id = await server.makeUser("mate", { teams: ["red"], displayName: "A mate" })
    await server.admin("POST", "/v1/service-accounts", { name: "mates-robot", teams: ["red", "blue"] })
    const list = async (query: string) => {
      const { body } = await server.admin("GET", `/v1/principals?${query}`)
      return (body["items"] as Array<{ name: string }>).map(({ name }) => name).toSorted()
    }
    await eventually(async () => (await list("team=red")).length === 2)
    expect(await list("team=red")).toEqual(["mate", "mates-robot"])
    expect(await list("team=red&kind=user")).toEqual(["mate"])
    expect(await list("kind=key&limit=1")).toHaveLength(1)
    await server.admin("POST", "/v1/users/mate:disable", {})
    await eventually(async () => (await server.admin("GET", "/v1/principals/mate")).body["disabled"] === true)
    expect((await server.admin("GET", `/v1/principals/${id}`)).body).toMatchObject({ id, displayName: "A mate" })
    expect((await server.admin("GET", "/v1/principals/nobody")).body.code).toBe("identity.principal-not-found")
  })

  test("have no name that looks like an id, and none twice", async () => {
    expect((await server.admin("POST", "/v1/users", { name: "usr_x" })).body.code).toBe("request.invalid-input")
    expect((await server.admin("POST", "/v1/service-accounts", { name: "sva_x" })).body.code).toBe(
      "request.invalid-input",
    )
    await server.admin("POST", "/v1/users", { name: "twice" })
    expect((await server.admin("POST", "/v1/users", { name: "twice" })).body.code).toBe("identity.user-exists")
  })
})
