import { approvalLimits } from "@signalbox/contracts/approvals/approval-limits"
import { signatureLimits } from "@signalbox/contracts/approvals/signed-votes"
import { calendarFeedLimits } from "@signalbox/contracts/calendars/calendar-feeds"
import { changeCalendarLimits } from "@signalbox/contracts/calendars/change-calendars"
import { calendarLimits } from "@signalbox/contracts/calendars/timing"
import { catalogLimits } from "@signalbox/contracts/catalog/catalog-limits"
import { gatewayLimits } from "@signalbox/contracts/gateway/operations"
import { identityLimits } from "@signalbox/contracts/identity/identity-limits"
import { notificationLimits } from "@signalbox/contracts/notifications/operations"
import { routingLimits } from "@signalbox/contracts/routing/map-document"
import { rulesLimits } from "@signalbox/contracts/rules/rule-document"
import { limits } from "@signalbox/contracts/schemas"
import { secretLimits } from "@signalbox/contracts/secrets/operations"
import { triggerLimits } from "@signalbox/contracts/triggers/trigger-limits"
import { stormGroupsMax } from "@signalbox/rules/storm-control"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { startServerFixture, type ServerFixture } from "./http/edge.fixture.ts"
import { packageChangesKeptMax } from "./services/fleet/package-change-store.ts"
import { recordsKeptMilliseconds, versionsKept } from "./storage/removal-task.ts"

/** What keeps a table from growing for ever. */
type Bound =
  /** A scheduled task removes what is past its retention. */
  | { readonly task: string }
  /** At most so many in an account, or of what has them. */
  | { readonly most: number }
  /** So many rows as another table has, for each of its rows at most `times`. */
  | { readonly of: string; readonly times?: number }
  /** Grows with what people have, not with time, or is kept on purpose; says why that is right. */
  | { readonly because: string }

const auditKept = "the audit record is kept for ever (D23): exports and checkpoints rest on its chain"
const fewRows = "a few rows for the installation, which no call adds to"

const bounds: Readonly<Record<string, Bound>> = {
  accounts: { because: "no operation makes accounts: the installation's first start does" },
  action_groups: { most: stormGroupsMax },
  action_inbox: { task: "actions.retention" },
  action_rules: { task: "actions.retention" },
  action_runs: { task: "actions.retention" },
  agent_inbox: { task: "workflows.inbox-retention" },
  agent_outbox: { task: "fleet.relay-retention" },
  agent_probes: { task: "fleet.relay-retention" },
  api_keys: { task: "identity.keys-retention" },
  approval_associations: { most: approvalLimits.associationsMax },
  approval_delegations: { most: approvalLimits.delegationsMax },
  approval_groups: { most: approvalLimits.groupsMax },
  approval_links: { task: "approvals.retention" },
  approval_requests: { task: "approvals.retention" },
  approval_template_versions: { of: "approval_templates", times: versionsKept },
  approval_templates: { most: approvalLimits.templatesMax },
  approval_votes: { task: "approvals.retention" },
  approval_waits: { of: "approval_requests", times: approvalLimits.membersMax },
  artifact_parts: { of: "artifacts" },
  artifacts: { task: "artifacts.abandoned-uploads" },
  audit: { because: auditKept },
  audit_chains: { of: "accounts" },
  audit_checkpoints: { because: auditKept },
  audit_seals: { because: auditKept },
  blob: { task: "storage.blobs-collection" },
  blob_reference: { task: "workflows.executions-retention" },
  break_glass_reviews: { task: "calendars.reviews-retention" },
  calendar_feeds: { most: calendarFeedLimits.feedsMax },
  catalog_instances: { task: "catalog.retention" },
  catalog_orders: { task: "catalog.retention" },
  catalog_portfolios: { most: catalogLimits.portfoliosMax },
  catalog_product_versions: { of: "catalog_products", times: versionsKept },
  catalog_products: { most: catalogLimits.productsMax },
  change_calendar_versions: { of: "change_calendars", times: changeCalendarLimits.versionsKept },
  change_calendars: { most: changeCalendarLimits.calendarsMax },
  channels: { most: notificationLimits.channelsMax },
  configuration_versions: { of: "accounts", times: 50 },
  consumer: { because: fewRows },
  dead_letter: { task: "storage.failures-retention" },
  deliveries: { task: "notifications.deliveries-retention" },
  enrollment_keys: { task: "fleet.enrollment-keys-retention" },
  execution_approvals: { task: "workflows.executions-retention" },
  execution_plans: { task: "workflows.executions-retention" },
  execution_step_calls: { task: "workflows.executions-retention" },
  execution_targets: { task: "workflows.executions-retention" },
  execution_tasks: { task: "workflows.executions-retention" },
  executions: { task: "workflows.executions-retention" },
  external_services: { most: gatewayLimits.servicesMax },
  held_operations: { task: "approvals.retention" },
  hook_messages: { task: "triggers.hook-messages-retention" },
  hooks: { most: triggerLimits.hooksMax },
  external_calls: { task: "gateway.unknown-calls-retention" },
  idempotency: { task: "storage.idempotency-retention" },
  identity_providers: { most: identityLimits.providersMax },
  login_attempts: { task: "identity.attempts-retention" },
  maintenance_windows: { most: calendarLimits.windowsInAccountMax },
  migration: { because: fewRows },
  named_triggers: { most: triggerLimits.triggersMax },
  node_claims: { of: "nodes", times: 2 },
  node_groups: { most: limits.nodeGroupsMax },
  node_inventories: { of: "nodes" },
  node_package_changes: { of: "nodes", times: packageChangesKeptMax },
  node_sessions: { of: "nodes" },
  nodes: { because: "one for each machine or resource that somebody enrolled, until it is removed" },
  outbox: { task: "storage.events-retention" },
  outbox_base: { because: fewRows },
  provider_logins: { task: "identity.provider-logins-retention" },
  routing_map_versions: { most: routingLimits.versionsMax },
  rule_versions: { task: "rules.versions-retention" },
  rules: { most: rulesLimits.rulesMax },
  schedule_firings: { task: "calendars.firings-retention" },
  schedules: { most: calendarLimits.schedulesMax },
  secret_key_slots: { because: "the last generations of keys, for two master keys at most" },
  secret_key_users: { of: "server" },
  secret_master_key: { because: fewRows },
  secret_versions: { of: "secrets", times: secretLimits.versionsKept },
  secrets: { task: "secrets.names-retention" },
  server: { because: "a row for each process that lives; whoever sees a lease lapse removes it" },
  service_accounts: { most: identityLimits.serviceAccountsMax },
  signal_states: { of: "nodes", times: triggerLimits.signalsMax },
  signals: { most: triggerLimits.signalsMax },
  signing_keys: { because: fewRows },
  silences: { most: triggerLimits.silencesMax },
  subscriptions: { most: notificationLimits.subscriptionsMax },
  uses: { task: "metering.uses-retention" },
  user_sessions: { task: "identity.sessions-retention" },
  users: { most: identityLimits.usersMax },
  vote_keys: { most: signatureLimits.voteKeysMax },
  workflow_versions: { of: "workflows", times: versionsKept },
  workflows: { most: limits.workflowsMax },
}

let server: ServerFixture
beforeAll(async () => {
  server = await startServerFixture()
})
afterAll(() => server.stop())

async function tablesOf(): Promise<string[]> {
  const rows = await server.test.database.query<{ name: string }>(
    "select relname as name from pg_class where relkind in ('r', 'p') and relnamespace = to_regnamespace('signalbox') order by 1",
  )
  return rows.map(({ name }) => name)
}

describe("X10: everything that grows has a limit", () => {
  test("every table names what keeps it from growing for ever, and no other does", async () => {
    expect(Object.keys(bounds).toSorted()).toEqual((await tablesOf()).toSorted())
  })

  test("the scheduled tasks that are named run, each limit is one, and no table rests on itself", async () => {
    const missing = async () => {
      const known = await server.test.database.query<{ name: string }>(
        "select identifier as name from graphile_worker._private_known_crontabs",
      )
      const tasks = new Set(known.map(({ name }) => name))
      return Object.values(bounds).flatMap((bound) => ("task" in bound && !tasks.has(bound.task) ? bound.task : []))
    }
    // The worker makes them known a moment after it has started.
    await expect.poll(missing, { timeout: 60_000 }).toEqual([])
    for (const [table, bound] of Object.entries(bounds)) {
      if ("most" in bound) expect(bound.most, table).toBeGreaterThan(0)
      if ("of" in bound)
        expect(
          Object.keys(bounds).filter((other) => other !== table),
          table,
        ).toContain(bound.of)
    }
  })
})

describe("X10: what is over is removed after its retention", () => {
  const long = `now() - interval '${recordsKeptMilliseconds / 1000 + 86_400} seconds'`
  const recent = "now() - interval '1 day'"

  async function run(task: string): Promise<void> {
    const { database } = server.test
    await database.query("select graphile_worker.add_job($1)", [`cron:${task}`])
    await expect
      .poll(
        () =>
          database.query(
            `select 1 from graphile_worker._private_jobs j join graphile_worker._private_tasks t on t.id = j.task_id
             where t.identifier = $1`,
            [`cron:${task}`],
          ),
        { timeout: 60_000 },
      )
      .toEqual([])
  }

  test.each([
    [
      "identity.keys-retention",
      `insert into api_keys (account, id, name, roles, secret_hash, created_by, revoked_at, expires_at)
       values ('main', 'key_old', 'x', '{}', 'x', 'x', ${long}, null), ('main', 'key_over', 'x', '{}', 'x', 'x', null, ${long}),
         ('main', 'key_fresh', 'x', '{}', 'x', 'x', ${recent}, null), ('main', 'key_good', 'x', '{}', 'x', 'x', null, null)`,
      "select id from api_keys where name = 'x' order by id",
      ["key_fresh", "key_good"],
    ],
    [
      "fleet.enrollment-keys-retention",
      `insert into enrollment_keys (account, id, secret_hash, uses_max, expires_at, source_ranges, tags, tags_allowed, created_by)
       values ('main', 'enk_old', 'x', 1, ${long}, '{}', '{}', '{}', 'x'), ('main', 'enk_new', 'x', 1, ${recent}, '{}', '{}', '{}', 'x')`,
      "select id from enrollment_keys order by id",
      ["enk_new"],
    ],
    [
      "calendars.reviews-retention",
      `insert into break_glass_reviews (id, account, operation, request_id, principal, reason, calendars, opened_at, closed_at)
       values ('bgr_old', 'main', 'x', 'r', 'x', 'x', '{}', ${long}, ${long}), ('bgr_open', 'main', 'x', 'r', 'x', 'x', '{}', ${long}, null),
         ('bgr_new', 'main', 'x', 'r', 'x', 'x', '{}', ${long}, ${recent})`,
      "select id from break_glass_reviews order by id",
      ["bgr_new", "bgr_open"],
    ],
    [
      "secrets.names-retention",
      `insert into secrets (account, name, version, removed, removed_at)
       values ('main', 'old', 2, true, ${long}), ('main', 'new', 2, true, ${recent}), ('main', 'there', 1, false, null)`,
      "select name as id from secrets order by name",
      ["new", "there"],
    ],
  ] as const)("%s", async (...[task, insert, select, left]) => {
    const { database } = server.test
    await database.query(insert)
    await run(task)
    expect((await database.query<{ id: string }>(select)).map(({ id }) => id)).toEqual(left)
  })
})
