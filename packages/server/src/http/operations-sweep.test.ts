import { createHash } from "node:crypto"
import { signVoteKeyClaim } from "@signalbox/attestation/member-vote"
import { findVoteKey, newVoteKeyPem } from "@signalbox/attestation/vote-key"
import { actionsPerform } from "@signalbox/contracts/actions/operations"
import { breakGlassReviewsOpen } from "@signalbox/contracts/calendars/break-glass-reviews"
import { operations } from "@signalbox/contracts/operations"
import { pathFields, type AnyOperation } from "@signalbox/contracts/operation"
import { assert } from "@signalbox/kernel/assert"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { newPublicKey, shortestWait, startServerFixture, type ServerFixture } from "./edge.fixture.ts"

/**
 * A sweep over every operation there is, generated from the declarations: refused without a key, with a key of too
 * low a role, and for another account's ids. An operation that the tables below can't call fails the sweep.
 */
const http = operations.filter((operation) => operation.effect !== "session" && operation.tokenInput === undefined)
/** Operations whose credential stands in the path. */
const byToken = operations.filter((operation) => operation.tokenInput !== undefined)
/** All but those by which people log in: they take no credentials. */
const closed = http.filter((operation) => operation.anonymous !== true)
const document = `kind: Workflow
name: own
steps:
  - name: secret-step-of-one
    run: ["true"]
`

const schedule = { every: "30d", call: { input: { workflow: "own", targets: { all: true } } } }

const calendar = "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"
const channel = { via: "webhook", url: "http://127.0.0.1:9/secret-url-of-one", signingSecret: "own-key" }
const subscription = { channel: "own", events: ["key.*"], description: "secret-subscription-of-one" }
const rule = {
  on: [{ operation: "windows.apply", phase: "before" }],
  do: [{ deny: { reason: "stolen" } }],
  enabled: false,
}
const provider = { issuer: "https://one.example.org", clientId: "secret-provider-of-one" }
const approvalGroup = { members: [{ mail: "secret-member-of-one@example.org" }] }
const approvalTemplate = { levels: [{ name: "only", group: "own", strategy: { kind: "any" } }] }
const externalService = {
  upstreams: [{ url: "http://192.0.2.1:9" }],
  document: {
    openapi: "3.1.0",
    info: { title: "One", version: "1" },
    paths: { "/": { get: { operationId: "read", responses: { 200: { description: "ok" } } } } },
  },
}
const vote = { digest: "0".repeat(64) }
const secretsOfOne = [
  "node",
  "query",
  "key",
  "window",
  "calendar",
  "feed",
  "review",
  "schedule",
  "url",
  "subscription",
  "member",
  "template",
  "type",
  "title",
  "note",
  "user",
  "service-account",
  "provider",
  "product",
  "portfolio",
  "instance",
  "external",
  "signal",
  "silence",
  "hook",
  "trigger",
  "rule",
  "action",
].map((what) => `secret-${what}-of-one`)

let server: ServerFixture
let one: { key: string; ids: Record<string, string> }
let two: { key: string }

beforeAll(async () => {
  server = await startServerFixture()
  const account = async (id: string) =>
    (await server.call(server.platformKey, "POST", "/v1/accounts", { id })).body["key"] as string
  const keyOfOne = await account("one")
  two = { key: await account("two") }
  await until(async () => (await server.call(two.key, "GET", "/v1/auth/whoami")).status === 200)
  one = { key: keyOfOne, ids: await fill(keyOfOne) }
})

afterAll(() => server.stop())

/** Puts one thing of each kind into an account; gives their ids by the name of the path field. */
async function fill(key: string): Promise<Record<string, string>> {
  const enrollment = (await server.call(key, "POST", "/v1/enrollment-keys", {})).body as { id: string; key: string }
  const enrolled = await server.call(enrollment.key, "POST", "/v1/nodes:enroll", {
    name: "secret-node-of-one",
    machineId: "machine-one",
    publicKey: newPublicKey(),
  })
  expect(enrolled.status).toBe(200)
  expect((await server.call(key, "PUT", "/v1/resources/own", { kind: "secret-kind-of-one" })).status).toBe(200)
  await server.call(key, "PUT", "/v1/groups/own", { query: "role=secret-query-of-one" })
  expect((await server.call(key, "PUT", "/v1/workflows/own", { document })).status).toBe(200)
  const window = { cron: "0 22 * * *", zone: "UTC", duration: "4h", description: "secret-window-of-one" }
  expect((await server.call(key, "PUT", "/v1/windows/own", window)).status).toBe(200)
  expect(
    (await server.call(key, "PUT", "/v1/schedules/own", { ...schedule, description: "secret-schedule-of-one" })).status,
  ).toBe(200)
  const run = await server.call(key, "POST", "/v1/executions", {
    workflow: "own",
    targets: { nodes: ["secret-node-of-one"] },
  })
  expect(run.status, JSON.stringify(run.body)).toBe(200)
  expect((await server.call(key, "PUT", "/v1/secrets/own", { value: "secret-value-of-one" })).status).toBe(200)
  const signingKey = `whsec_${"c2VjcmV0LWtleS1vZi1vbmUh".repeat(2)}`
  expect((await server.call(key, "PUT", "/v1/secrets/own-key", { value: signingKey })).status).toBe(200)
  expect((await server.call(key, "PUT", "/v1/channels/own", channel)).status).toBe(200)
  expect((await server.call(key, "PUT", "/v1/subscriptions/own", subscription)).status).toBe(200)
  const tested = await server.call(key, "POST", "/v1/channels/own:test", {})
  const emptyDigest = createHash("sha256").digest("hex")
  const artifact = await server.call(key, "POST", "/v1/artifacts", { name: "own", digest: emptyDigest, bytes: 0 })
  expect(artifact.status).toBe(200)
  expect((await server.call(key, "POST", `/v1/artifacts/${String(artifact.body["id"])}:finish`, {})).status).toBe(200)
  const user = await server.call(key, "POST", "/v1/users", { name: "own", displayName: "secret-user-of-one" })
  expect(user.status, JSON.stringify(user.body)).toBe(200)
  const code = String(user.body["code"])
  const redeem = { account: "one", user: "own", code, password: "a password of one" }
  expect((await server.call(undefined, "POST", "/v1/passwords:redeem", redeem)).status).toBe(200)
  const login = { account: "one", user: "own", password: "a password of one" }
  const session = await server.call(undefined, "POST", "/v1/user-sessions", login)
  expect(session.status, JSON.stringify(session.body)).toBe(200)
  const serviceAccount = { name: "own", displayName: "secret-service-account-of-one" }
  expect((await server.call(key, "POST", "/v1/service-accounts", serviceAccount)).status).toBe(200)
  expect((await server.call(key, "PUT", "/v1/identity-providers/own", provider)).status).toBe(200)
  const apiKey = await server.call(key, "POST", "/v1/keys", { name: "secret-key-of-one", roles: ["viewer"] })
  const approvals = await fillApprovals(key)
  const calendars = await fillCalendars(key)
  const catalog = await fillCatalog(key)
  const registered = { ...externalService, description: "secret-external-of-one" }
  const registering = await server.call(key, "PUT", "/v1/services/own", registered)
  expect(registering.status, JSON.stringify(registering.body)).toBe(200)
  await fillTriggers(key)
  return {
    ...approvals,
    ...calendars,
    ...catalog,
    node: enrolled.body["node"] as string,
    execution: run.body["id"] as string,
    delivery: tested.body["id"] as string,
    key: apiKey.body["id"] as string,
    enrollmentKey: enrollment.id,
    artifact: artifact.body["id"] as string,
    digest: emptyDigest,
    name: "own",
    user: user.body["id"] as string,
    principal: user.body["id"] as string,
    session: session.body["session"] as string,
    serviceAccount: "own",
    task: "0",
    id: run.body["id"] as string,
    operation: "accounts.list",
  }
}

async function fillApprovals(key: string): Promise<Record<string, string>> {
  expect((await server.call(key, "PUT", "/v1/approval-groups/own", approvalGroup)).status).toBe(200)
  const template = { ...approvalTemplate, description: "secret-template-of-one" }
  expect((await server.call(key, "PUT", "/v1/approval-templates/own", template)).status).toBe(200)
  const association = { template: "own", selector: { type: "secret-type-of-one" } }
  expect((await server.call(key, "PUT", "/v1/associations/own", association)).status).toBe(200)
  const asked = { type: "purchase", title: "secret-title-of-one", content: 1, unmatched: "wait" }
  const request = await server.call(key, "POST", "/v1/approval-requests", asked)
  expect(request.status, JSON.stringify(request.body)).toBe(200)
  const absence = { until: "2099-01-01T00:00:00Z", note: "secret-note-of-one" }
  const delegation = await server.call(key, "POST", "/v1/delegations", absence)
  expect(delegation.status, JSON.stringify(delegation.body)).toBe(200)
  const voteKey = await addVoteKey(key)
  return { request: request.body["id"] as string, delegation: delegation.body["id"] as string, voteKey }
}

async function addVoteKey(key: string): Promise<string> {
  const voteKey = findVoteKey(newVoteKeyPem())
  assert(voteKey, "a new key is one")
  const { body } = await server.call(key, "GET", "/v1/auth/whoami")
  const claim = { account: "one", principal: String(body["principal"]), at: new Date().toISOString() }
  const proof = JSON.stringify(signVoteKeyClaim(voteKey, claim))
  const given = { publicKey: voteKey.publicKey, proof, note: "secret-note-of-one" }
  const added = await server.call(key, "POST", "/v1/vote-keys", given)
  expect(added.status, JSON.stringify(added.body)).toBe(200)
  return voteKey.keyId
}

async function fillCatalog(key: string): Promise<Record<string, string>> {
  const kept = { ...rule, description: "secret-rule-of-one" }
  expect((await server.call(key, "PUT", "/v1/rules/own", kept)).status).toBe(200)
  const described = { description: "secret-product-of-one", provisioner: "own" }
  expect((await server.call(key, "PUT", "/v1/products/own", described)).status).toBe(200)
  const portfolio = { products: { own: {} }, description: "secret-portfolio-of-one" }
  expect((await server.call(key, "PUT", "/v1/portfolios/own", portfolio)).status).toBe(200)
  const launch = { portfolio: "own", product: "own", name: "secret-instance-of-one" }
  const launched = await server.call(key, "POST", "/v1/instances", launch)
  expect(launched.status, JSON.stringify(launched.body)).toBe(200)
  const instance = String(launched.body["id"])
  const { items } = (await server.call(key, "GET", "/v1/events?limit=1")).body as { items?: Array<{ id: string }> }
  return { event: items?.[0]?.id ?? "evt_none", instance, order: `${instance.replace("ins_", "ord_")}_1` }
}

async function fillTriggers(key: string): Promise<void> {
  const made = {
    signals: { metric: { load: true }, raise: { above: 1 }, description: "secret-signal-of-one" },
    silences: { until: "2099-01-01T00:00:00Z", reason: "secret-silence-of-one" },
    hooks: { description: "secret-hook-of-one" },
    triggers: { description: "secret-trigger-of-one" },
  }
  for (const [noun, body] of Object.entries(made)) {
    const answer = await server.call(key, "PUT", `/v1/${noun}/own`, body)
    expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  }
}

async function fillCalendars(key: string): Promise<Record<string, string>> {
  const described = { document: calendar, description: "secret-calendar-of-one" }
  expect((await server.call(key, "PUT", "/v1/calendars/own", described)).status).toBe(200)
  const feed = await server.call(key, "POST", "/v1/calendar-feeds", { calendar: "own", note: "secret-feed-of-one" })
  expect(feed.status, JSON.stringify(feed.body)).toBe(200)
  const review = await server.composition.router.call(
    breakGlassReviewsOpen,
    {
      ...{ requestId: "req_1", operation: "executions.create", principal: "key:x", calendars: ["own"] },
      reason: "secret-review-of-one",
    },
    { account: "one", service: "approvals", roles: ["gate"], cause: "req_1", depth: 0 },
  )
  const action = await server.composition.router.call(
    actionsPerform,
    {
      ...{ rule: "own", operation: "groups.put", author: "key:x", input: { name: "secret-action-of-one" } },
      trigger: { id: "evt_1", type: "node.enrolled", subject: "x" },
    },
    { account: "one", service: "router", roles: ["performer"], cause: "req_1", depth: 0 },
  )
  return { feed: feed.body["id"] as string, review: review.id, action: action.id, rule: "own" }
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 10_000
  while (!(await condition())) expect(Date.now(), "the condition holds in time").toBeLessThan(end)
}

function pathOf(operation: AnyOperation, ids: Record<string, string>): string {
  let { path } = operation
  for (const field of pathFields(path)) {
    const id = operation.name.startsWith("enrollment-keys.") && field === "key" ? ids["enrollmentKey"] : ids[field]
    if (id === undefined) throw new Error(`the sweep has no id for {${field}} of ${operation.name}: add one to fill()`)
    path = path.replace(`{${field}}`, encodeURIComponent(id))
  }
  return path
}

/** What a valid call needs beside its path, for operations that act on something by its id or name. */
const bodies: Record<string, unknown> = {
  "nodes.update": { tags: { stolen: "yes" } },
  "groups.put": { query: "role=web" },
  "resources.apply": { kind: "database" },
  "workflows.apply": { document },
  "windows.apply": { cron: "0 1 * * *", zone: "UTC", duration: "1h" },
  "calendars.apply": { document: calendar },
  "calendars.refresh": {},
  "calendar-feeds.revoke": {},
  "break-glass-reviews.close": { comment: "seen" },
  "schedules.apply": schedule,
  "schedules.pause": {},
  "schedules.resume": {},
  "schedules.fire": {},
  "rule-schedules.keep": { author: "stolen", schedules: [] },
  "channels.apply": { via: "webhook", url: "http://127.0.0.1:9/other", signingSecret: "own-key" },
  "channels.test": {},
  "subscriptions.apply": { channel: "own", events: ["node.*"] },
  "deliveries.redeliver": {},
  "artifacts.write": { offset: 0, content: "AAAA" },
  "artifacts.finish": {},
  "secrets.put": { value: "another value" },
  "master-key.rotate": {},
  "templates.apply": approvalTemplate,
  "approval-groups.apply": { members: [{ mail: "somebody@example.org" }] },
  "associations.apply": { template: "own", selector: { type: "theft" } },
  "approval-requests.edit": { revision: 1, content: 2 },
  "approval-requests.cancel": {},
  "approval-requests.match": { template: "own" },
  "approval-requests.approve": vote,
  "approval-requests.deny": vote,
  "approval-requests.abstain": vote,
  "approval-requests.ask": { ...vote, question: "why?" },
  "approval-requests.answer": { answer: "because" },
  "approval-requests.delegate": {},
  "vote-keys.revoke": {},
  "step-approvals.cancel": { comment: "stolen" },
  "templates.preview": {},
  "held-operations.edit": { revision: 1, newInput: {} },
  "held-operations.withdraw": { reason: "stolen" },
  "products.apply": { provisioner: "own" },
  "rules.put": rule,
  "portfolios.apply": { import: { account: "one", portfolio: "own" } },
  "services.put": externalService,
  "catalog.update": {},
  "catalog.end": {},
  "instances.reveal": {},
  "provisioning-orders.renew": { epoch: 1 },
  "provisioning-orders.succeed": { epoch: 1 },
  "provisioning-orders.fail": { epoch: 1, reason: "stolen" },
  "signals.put": { metric: { load: true }, raise: { above: 1 } },
  "silences.put": { until: "2099-01-01T00:00:00Z", reason: "theirs" },
  "hooks.put": {},
  "hooks.rotate": {},
  "triggers.put": {},
  "triggers.fire": {},
  "routes.put": { services: [] },
  "routes.apply": {},
  "routes.rollback": { to: 1 },
  "keys.revoke": {},
  "keys.assign": { owner: "own" },
  "users.update": { displayName: "stolen" },
  "users.disable": {},
  "users.enable": {},
  "users.reset-password": {},
  "service-accounts.update": { displayName: "stolen" },
  "service-accounts.disable": {},
  "service-accounts.enable": {},
  "user-sessions.revoke": {},
  "identity-providers.apply": { issuer: "https://two.example.org", clientId: "two" },
  "enrollment-keys.revoke": {},
  "executions.pause": {},
  "executions.resume": {},
  "executions.abort": {},
  "executions.resize": { concurrency: 2 },
  "executions.retry": {},
  "executions.rollback": {},
  "actions.cancel": {},
  "actions.redrive": {},
}

describe("X2: every operation is refused", () => {
  test.each(closed.map((operation) => [operation.name, operation] as const))(
    "%s without a key",
    async (_name, operation) => {
      const body = operation.method === "GET" || operation.method === "DELETE" ? undefined : {}
      const answer = await server.call(undefined, operation.method, pathOf(operation, one.ids), body)
      expect(answer.status).toBe(401)
      expect(answer.body.code).toBe("identity.missing-credentials")
    },
  )

  test.each(closed.map((operation) => [operation.name, operation] as const))(
    "%s with a key of too low a role",
    async (_name, operation) => {
      const roleLess =
        operation.permission === "nodes.enroll"
          ? ((await server.call(one.key, "POST", "/v1/keys", { name: "viewer", roles: ["viewer"] })).body[
              "key"
            ] as string)
          : ((await server.call(one.key, "POST", "/v1/enrollment-keys", {})).body["key"] as string)
      const body = operation.method === "GET" || operation.method === "DELETE" ? undefined : {}
      let answer = await server.call(roleLess, operation.method, pathOf(operation, one.ids), body)
      await until(async () => {
        if (answer.status === 401)
          answer = await server.call(roleLess, operation.method, pathOf(operation, one.ids), body)
        return answer.status !== 401
      })
      expect(answer.status).toBe(403)
      expect(answer.body.code).toBe("identity.permission-denied")
    },
  )

  const byId = http.filter((operation) => pathFields(operation.path).length > 0)
  test.each(byId.map((operation) => [operation.name, operation] as const))(
    "%s for another account's ids",
    async (name, operation) => {
      if (!["GET", "DELETE"].includes(operation.method) && bodies[name] === undefined)
        throw new Error(`the sweep has no body for ${name}`)
      const before = await snapshot()
      const answer = await server.call(two.key, operation.method, pathOf(operation, one.ids), bodies[name])
      const text = JSON.stringify(answer.body)
      for (const secret of secretsOfOne) expect(text).not.toContain(secret)
      const creates =
        name === "groups.put" ||
        name === "resources.apply" ||
        name === "workflows.apply" ||
        name === "products.apply" ||
        name === "services.put" ||
        /^(?:schedules|windows|channels|subscriptions|identity-providers|approval-groups|calendars|rules)\.(?:apply|put|get|remove|test)$/.test(
          name,
        ) ||
        /^(?:signals|silences|hooks|triggers)\.(?:put|get|remove)$/.test(name) ||
        name === "secrets.put" ||
        name === "secrets.get" ||
        name === "secrets.remove" ||
        name === "groups.remove" ||
        name === "groups.get" ||
        name === "workflows.get"
      // Nobody of an account's holds these.
      const forNobody = [
        ...["routes.write", "accounts.write", "secrets.rotate", "executions.evidence", "approvals.hold"],
        "schedules.keep",
      ]
      if (forNobody.includes(operation.permission)) expect(answer.status).toBe(403)
      else if (!creates)
        expect([answer.status, answer.body.code]).toEqual([404, expect.stringMatching(/not-found|unknown-subject/)])
      expect(await snapshot()).toEqual(before)
    },
  )

  test.each(byToken.map((operation) => [operation.name, operation] as const))(
    "%s with a token that nobody gave out, whatever key comes with it",
    async (_name, operation) => {
      const member = operation.tokenInput ?? ""
      const forged = `sbx_one_cfd${"0".repeat(26)}_${"0".repeat(52)}`
      for (const token of [forged, "nonsense"]) {
        const answer = await server.call(one.key, operation.method, pathOf(operation, { ...one.ids, [member]: token }))
        expect([answer.status, answer.body.code]).toEqual([401, "identity.invalid-credentials"])
      }
    },
  )

  test("lists of another account show nothing of this one", async () => {
    for (const operation of http.filter(
      (each) => each.effect === "read" && each.method === "GET" && pathFields(each.path).length === 0,
    )) {
      const { seconds } = shortestWait(operation)
      const query = seconds === undefined ? "" : `?seconds=${seconds}`
      const answer = await server.call(two.key, "GET", operation.path + query)
      const text = JSON.stringify(answer.body)
      for (const secret of [...secretsOfOne, one.ids["execution"] ?? "?"]) {
        expect(text, operation.name).not.toContain(secret)
      }
    }
  })
})

/** Everything of account one that a call of account two could have changed. */
async function snapshot(): Promise<unknown> {
  const { database } = server.test
  return Promise.all([
    database.query("select name, tags, state from nodes where account = 'one' order by id").catch(() => []),
    database.query("select id, version, display_name, password_hash, disabled_at from users where account = 'one'"),
    database.query("select id, version, display_name, disabled_at from service_accounts where account = 'one'"),
    database.query("select id, revoked_at from user_sessions where account = 'one'"),
    database.query("select name, version, spec from identity_providers where account = 'one'"),
    database.query(
      "select id, revoked_at, owner from api_keys where account = 'one' and name like 'secret%' order by id",
    ),
    database.query("select name, query from node_groups where account = 'one'").catch(() => []),
    database.query("select name, version from workflow_versions where account = 'one'"),
    database.query("select name, version, received, state from artifacts where account = 'one'"),
    database.query("select name, version, removed from secrets where account = 'one'"),
    database.query("select name, version from schedules where account = 'one'"),
    database.query("select name, version from maintenance_windows where account = 'one'"),
    database.query("select name, version from channels where account = 'one'"),
    database.query("select name, version from subscriptions where account = 'one'"),
    database.query("select count(*) from deliveries where account = 'one'"),
    database.query("select wish from executions where account = 'one'"),
    database.query("select name, version from change_calendars where account = 'one'"),
    database.query("select id from calendar_feeds where account = 'one'"),
    database.query("select id, closed_at from break_glass_reviews where account = 'one'"),
    database.query("select name, version from approval_templates where account = 'one'"),
    database.query("select name, version from approval_groups where account = 'one'"),
    database.query("select name, version from approval_associations where account = 'one'"),
    database.query("select id, version from approval_requests where account = 'one'"),
    database.query("select id, version from approval_delegations where account = 'one'"),
    database.query("select id, version from vote_keys where account = 'one'"),
    database.query("select name, version from catalog_products where account = 'one'"),
    database.query("select name, version from rules where account = 'one'"),
    database.query("select name, version from catalog_portfolios where account = 'one'"),
    database.query("select id, version from catalog_instances where account = 'one'"),
    database.query("select id, redrives from action_runs where account = 'one'"),
    database.query("select version, document from routing_map_versions order by version"),
    database.query("select name, version from external_services where account = 'one'"),
    database.query("select name, version from signals where account = 'one'"),
    database.query("select name, version from silences where account = 'one'"),
    database.query("select name, version, token_hash, secret from hooks where account = 'one'"),
    database.query("select name, version from named_triggers where account = 'one'"),
  ])
}
