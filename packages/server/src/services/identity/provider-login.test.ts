import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import type { Answer } from "../../http/edge.fixture.ts"
import { parseHostRule } from "../../egress/host-rule.ts"
import { oidcClientId, redirectUri, startOidcFixture, type OidcFixture } from "./oidc-provider.fixture.ts"
import { eventually, startPeopleFixture, type PeopleFixture } from "./people.fixture.ts"

let oidc: OidcFixture
let server: PeopleFixture

beforeAll(async () => {
  oidc = await startOidcFixture()
  const loopback = parseHostRule("127.0.0.1")
  server = await startPeopleFixture({ egress: { allow: loopback ? [loopback] : [], privateAllowed: true } })
  const secret = { value: oidc.clientSecret }
  expect((await server.admin("PUT", "/v1/secrets/oidc-client", secret)).status).toBe(200)
})

afterAll(async () => {
  await server.stop()
  await oidc.stop()
})

beforeEach(async () => {
  server.clock.offset = 0
  Object.assign(oidc, { lieAboutKeys: false, lieAboutIssuer: false })
  await server.test.database.query("delete from login_attempts")
  await configure({})
})

const provider = {
  clientId: oidcClientId,
  clientSecret: "oidc-client",
  scopes: ["openid", "profile", "email", "groups"],
  admit: "in-mapped-group",
  groups: [
    { group: "engineers", roles: ["operator"], teams: ["sre"] },
    { group: "on-call", teams: ["night"] },
  ],
}

async function configure(more: Record<string, unknown>): Promise<void> {
  const body = { ...provider, issuer: oidc.issuer, ...more }
  const answer = await server.admin("PUT", "/v1/identity-providers/corporate", body)
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
}

async function begin(): Promise<{ attempt: string; authorizationUrl: string }> {
  const begun = await server.call(undefined, "POST", "/v1/user-sessions:begin", { redirectUri })
  expect(begun.status, JSON.stringify(begun.body)).toBe(200)
  return begun.body as unknown as { attempt: string; authorizationUrl: string }
}

const complete = (attempt: string, callbackUrl: string): Promise<Answer> =>
  server.call(undefined, "POST", "/v1/user-sessions:complete", { attempt, callbackUrl })

async function logIn(person: OidcFixture["person"]): Promise<Answer> {
  oidc.person = person
  const { attempt, authorizationUrl } = await begin()
  return await complete(attempt, await oidc.browse(authorizationUrl))
}

const person = (name: string, more: Record<string, unknown> = {}) => ({
  sub: `subject-of-${name}`,
  preferred_username: name,
  name: `The person ${name}`,
  email: `${name}@example.org`,
  email_verified: true,
  groups: ["engineers", "other"],
  ...more,
})

describe("X1: a login by OpenID Connect", () => {
  test("makes a user of somebody in a mapped group; groups give roles and teams anew each time", async () => {
    const first = await logIn(person("ada"))
    expect(first.body).toMatchObject({ name: "ada", created: true })
    const token = String(first.body["token"])
    const who = await server.call(token, "GET", "/v1/auth/whoami")
    expect(who.body).toMatchObject({ principal: first.body["user"], roles: ["member", "operator"], teams: ["sre"] })
    const listed = await server.call(token, "GET", "/v1/user-sessions")
    expect(listed.body["items"]).toMatchObject([{ provider: "corporate", current: true }])
    const second = await logIn(person("ada", { preferred_username: "renamed", groups: ["on-call"] }))
    expect(second.body).toMatchObject({ user: first.body["user"], name: "ada", created: false })
    await eventually(async () => {
      const { body } = await server.call(token, "GET", "/v1/auth/whoami")
      return JSON.stringify([body["roles"], body["teams"]]) === '[["member"],["night"]]'
    })
    const user = await server.admin("GET", "/v1/users/ada")
    expect(user.body).toMatchObject({ displayName: "The person ada", email: "ada@example.org", hasPassword: false })
    expect((await server.logIn("ada", "any password at all")).body.code).toBe("identity.login-refused")
  })

  test("asks with PKCE, state and nonce; none of them leaves the server before", async () => {
    const { authorizationUrl, attempt } = await begin()
    const { searchParams } = new URL(authorizationUrl)
    expect(Object.fromEntries(searchParams)).toMatchObject({
      code_challenge_method: "S256",
      redirect_uri: redirectUri,
      response_type: "code",
      scope: "openid profile email groups",
    })
    for (const name of ["code_challenge", "state", "nonce"]) expect(searchParams.get(name)).toMatch(/^[\w-]{43}$/)
    const rows = await server.test.database.query("select * from provider_logins")
    expect(JSON.stringify(rows)).not.toContain(attempt)
    const stored = await server.test.database.query("select response from idempotency")
    expect(JSON.stringify(stored)).not.toContain(searchParams.get("state"))
  })

  test("is completed once, in its time, by whoever began it, with the answer to it", async () => {
    oidc.person = person("careful")
    const [one, two] = [await begin(), await begin()]
    const arrived = await oidc.browse(one.authorizationUrl)
    const codeOf = async (attempt: string, url: string) => (await complete(attempt, url)).body.code
    expect(await codeOf("not-an-attempt", arrived)).toBe("identity.login-expired")
    expect(await codeOf(two.attempt, arrived)).toBe("identity.provider-refused")
    expect(await codeOf(one.attempt, arrived.replace("/callback", "/elsewhere"))).toBe("identity.login-expired")
    expect(await codeOf(one.attempt, arrived)).toBe("identity.login-expired")
    const three = await begin()
    const answer = await oidc.browse(three.authorizationUrl)
    const both = await Promise.all([complete(three.attempt, answer), complete(three.attempt, answer)])
    expect(both.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 409])
    const four = await begin()
    const late = await oidc.browse(four.authorizationUrl)
    server.clock.offset += 11 * 60_000
    expect(await codeOf(four.attempt, late)).toBe("identity.login-expired")
  })

  test("is refused where the answer was tampered with or says no", async () => {
    oidc.person = person("tampered")
    const tamper = async (edit: (url: URL) => void) => {
      const { attempt, authorizationUrl } = await begin()
      const url = new URL(await oidc.browse(authorizationUrl))
      edit(url)
      return await complete(attempt, url.href)
    }
    const edits: Array<(url: URL) => void> = [
      (url) => url.searchParams.set("state", "x".repeat(43)),
      (url) => url.searchParams.delete("state"),
      (url) => url.searchParams.set("code", "made-up"),
      (url) => url.searchParams.set("iss", "https://another.example.org"),
      (url) => url.searchParams.delete("code"),
    ]
    for (const edit of edits) expect((await tamper(edit)).body.code, String(edit)).toBe("identity.provider-refused")
    const denied = await tamper((url) => {
      url.searchParams.delete("code")
      url.searchParams.set("error", "access_denied")
    })
    expect(denied.body).toMatchObject({ code: "identity.provider-refused" })
    expect(JSON.stringify(denied.body)).toContain("access_denied")
    const { attempt, authorizationUrl } = await begin()
    await server.test.database.query("update provider_logins set nonce = 'another'")
    expect((await complete(attempt, await oidc.browse(authorizationUrl))).body.code).toBe("identity.provider-refused")
    const other = await begin()
    await server.test.database.query("update provider_logins set code_verifier = repeat('x', 43)")
    const unproven = await complete(other.attempt, await oidc.browse(other.authorizationUrl))
    expect(unproven.body.code).toBe("identity.provider-refused")
  })

  test("survives a rotation of keys, and refuses tokens that no key of the provider signed", async () => {
    expect((await logIn(person("rotated"))).status).toBe(200)
    oidc.rotateKeys()
    expect((await logIn(person("rotated"))).status).toBe(200)
    oidc.lieAboutKeys = true
    expect((await logIn(person("rotated"))).body.code).toBe("identity.provider-refused")
  })

  test("bears a clock that is a little off, not one that is far off", async () => {
    server.clock.offset = 80_000
    expect((await logIn(person("skewed"))).status).toBe(200)
    server.clock.offset = -20_000
    expect((await logIn(person("skewed"))).status).toBe(200)
    server.clock.offset = 300_000
    expect((await logIn(person("skewed"))).body.code).toBe("identity.provider-refused")
  })

  test("of one person twice at the same time makes one user", async () => {
    oidc.person = person("doubled")
    const logins = [await begin(), await begin(), await begin()]
    const answers = []
    for (const { attempt, authorizationUrl } of logins)
      answers.push({ attempt, callbackUrl: await oidc.browse(authorizationUrl) })
    const done = await Promise.all(answers.map(({ attempt, callbackUrl }) => complete(attempt, callbackUrl)))
    expect(done.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(new Set(done.map(({ body }) => body["user"])).size).toBe(1)
    expect(done.filter(({ body }) => body["created"] === true)).toHaveLength(1)
  })
})

describe("X1: who is let in", () => {
  test("nobody new by default; members of mapped groups; those of a domain", async () => {
    const outsider = await logIn(person("outsider", { groups: ["other"] }))
    expect(outsider).toMatchObject({ status: 403, body: { code: "identity.not-admitted" } })
    await configure({ admit: "never" })
    expect((await logIn(person("never"))).body.code).toBe("identity.not-admitted")
    await configure({ admit: "anyone", emailDomains: ["example.org"] })
    expect((await logIn(person("anyone", { groups: [] }))).status).toBe(200)
    for (const [name, more] of [
      ["foreign", { email: "foreign@example.org.evil.net" }],
      ["unverified", { email_verified: false }],
      ["without", { email: undefined }],
    ] as const)
      expect((await logIn(person(name, more))).body.code, name).toBe("identity.not-admitted")
  })

  test("whoever an administrator made, by a verified address, once", async () => {
    await configure({ admit: "never" })
    const waiting = { name: "eve", email: "Eve@example.org", provider: "corporate", teams: ["by-hand"] }
    const made = await server.admin("POST", "/v1/users", waiting)
    expect(made.body).not.toHaveProperty("code")
    expect((await logIn(person("eve", { email_verified: false }))).body.code).toBe("identity.not-admitted")
    const first = await logIn(person("eve"))
    expect(first.body).toMatchObject({ user: made.body["id"], created: false })
    expect((await logIn(person("eve", { sub: "somebody else with the address" }))).body.code).toBe(
      "identity.not-admitted",
    )
    expect((await logIn(person("eve", { email: "moved@example.org" }))).body).toMatchObject({ user: made.body["id"] })
    expect((await server.admin("GET", "/v1/users/eve")).body).toMatchObject({
      teams: ["by-hand"],
      claimedTeams: ["sre"],
    })
  })

  test("nobody who is disabled; and a provider that is disabled or gone ends its sessions", async () => {
    const login = await logIn(person("fired"))
    await server.admin("POST", "/v1/users/fired:disable", {})
    expect((await logIn(person("fired"))).body.code).toBe("identity.not-admitted")
    await eventually(async () => !(await server.isGood(String(login.body["token"]))))
    const token = String((await logIn(person("stays"))).body["token"])
    expect(await server.isGood(token)).toBe(true)
    await configure({ enabled: false })
    await eventually(async () => !(await server.isGood(token)) && !(await server.other.isGood(token)))
    const begun = await server.call(undefined, "POST", "/v1/user-sessions:begin", { redirectUri })
    expect(begun.body.code).toBe("identity.provider-not-found")
    await configure({})
    await eventually(() => server.isGood(token))
    expect((await server.admin("DELETE", "/v1/identity-providers/corporate")).status).toBe(200)
    await eventually(async () => !(await server.isGood(token)))
  })

  test("logging out says where the provider's session is ended", async () => {
    const login = await logIn(person("leaving"))
    const out = await server.call(String(login.body["token"]), "POST", "/v1/auth/logout", {})
    const url = new URL(String(out.body["logoutUrl"]))
    expect([url.origin, url.searchParams.get("client_id")]).toEqual([oidc.issuer, oidcClientId])
  })
})

describe("X1: a provider that can't be used", () => {
  const beginCode = async (provider?: string) => {
    const body = { redirectUri, ...(provider ? { provider } : {}) }
    const { body: answer } = await server.call(undefined, "POST", "/v1/user-sessions:begin", body)
    return answer.code
  }

  test("is told: another issuer, nobody there, no secret, a wrong secret", async () => {
    oidc.lieAboutIssuer = true
    expect(await beginCode()).toBe("identity.provider-unusable")
    oidc.lieAboutIssuer = false
    await configure({ issuer: "http://127.0.0.1:1" })
    expect(await beginCode()).toBe("identity.provider-unusable")
    await configure({})
    await server.admin("PUT", "/v1/secrets/oidc-client", { value: "a wrong secret" })
    const refused = await logIn(person("wrong-secret"))
    expect(refused.body.code).toBe("identity.provider-refused")
    expect(JSON.stringify(refused.body)).toContain("invalid_client")
    await server.admin("DELETE", "/v1/secrets/oidc-client")
    expect(await beginCode()).toBe("identity.provider-unusable")
    await server.admin("PUT", "/v1/secrets/oidc-client", { value: oidc.clientSecret })
    expect(await beginCode()).toBeUndefined()
  })

  test("is refused when it is written down wrongly", async () => {
    const put = async (more: Record<string, unknown>) =>
      (await server.admin("PUT", "/v1/identity-providers/wrong", { ...provider, issuer: oidc.issuer, ...more })).body
    for (const issuer of ["http://id.example.org", "https://id.example.org/?a=b", "https://u:p@id.example.org"])
      expect(await put({ issuer }), issuer).toMatchObject({ code: "identity.invalid-provider" })
    expect(await put({ clientSecret: "no-such-secret" })).toMatchObject({ code: "identity.invalid-provider" })
    expect(await put({ groups: [{ group: "g" }, { group: "g" }] })).toMatchObject({ code: "identity.invalid-provider" })
    expect(await put({ issuer: "file:///etc/passwd" })).toMatchObject({ code: "request.invalid-input" })
  })

  test("is not called where the egress guard refuses it", async () => {
    const guarded = await startPeopleFixture()
    try {
      const body = { clientId: oidcClientId, issuer: oidc.issuer }
      expect((await guarded.admin("PUT", "/v1/identity-providers/inside", body)).status).toBe(200)
      const begun = await guarded.call(undefined, "POST", "/v1/user-sessions:begin", { redirectUri })
      expect(begun.body.code).toBe("identity.provider-unusable")
      expect(JSON.stringify(begun.body)).toContain("egress-allow")
    } finally {
      await guarded.stop()
    }
  })

  test("takes no redirect to anywhere but the person's own machine", async () => {
    for (const uri of [
      "https://evil.example.org/",
      "http://localhost.evil.org/",
      "http://127.0.0.1:9/a?b=c",
      "http://127.0.0.1@evil.org/",
    ]) {
      const { body } = await server.call(undefined, "POST", "/v1/user-sessions:begin", { redirectUri: uri })
      expect(body.code, uri).toBe("request.invalid-input")
    }
  })
})
