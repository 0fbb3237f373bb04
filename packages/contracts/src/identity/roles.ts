/**
 * Roles are named sets of permissions; each operation names the one permission it needs (D22). A new permission goes
 * into the roles that hold it here, and nowhere else.
 */
export const permissions = [
  "accounts.read",
  "accounts.write",
  "keys.read",
  "keys.write",
  "auth.enter",
  "auth.read",
  "auth.write",
  "users.read",
  "users.write",
  "service-accounts.read",
  "service-accounts.write",
  "principals.read",
  "identity-providers.read",
  "identity-providers.write",
  "operations.read",
  "routes.read",
  "routes.write",
  "events.read",
  "audit.read",
  "nodes.read",
  "nodes.write",
  "nodes.enroll",
  "sessions.open",
  "enrollment-keys.read",
  "enrollment-keys.write",
  "groups.read",
  "groups.write",
  "workflows.read",
  "workflows.write",
  "executions.read",
  "executions.run",
  "executions.control",
  "executions.evidence",
  "schedules.read",
  "schedules.write",
  "schedules.keep",
  "windows.read",
  "windows.write",
  "calendars.read",
  "calendars.write",
  "calendars.review",
  "calendars.subscribe",
  "calendars.break-glass",
  "secrets.read",
  "secrets.write",
  "secrets.refer",
  "secrets.rotate",
  "artifacts.read",
  "artifacts.write",
  "artifacts.download",
  "notifications.read",
  "notifications.write",
  "notifications.send",
  "notifications.deliver",
  "approvals.read",
  "approvals.answer",
  "approvals.submit",
  "approvals.write",
  "approvals.hold",
  "approvals.link",
  "catalog.read",
  "catalog.launch",
  "catalog.control",
  "catalog.write",
  "catalog.fulfil",
  "rules.read",
  "rules.write",
  "services.read",
  "services.write",
  "services.call",
  "services.change",
  "signals.read",
  "signals.write",
  "hooks.read",
  "hooks.write",
  "hooks.receive",
  "triggers.read",
  "triggers.write",
  "triggers.fire",
  "actions.read",
  "actions.control",
  "actions.perform",
] as const

export type Permission = (typeof permissions)[number]

const ownSession: readonly Permission[] = ["auth.read", "auth.write", "operations.read"]
const viewer: readonly Permission[] = [
  ...ownSession,
  "principals.read",
  "events.read",
  "nodes.read",
  "groups.read",
  "workflows.read",
  "executions.read",
  "artifacts.read",
  "schedules.read",
  "windows.read",
  "calendars.read",
  "notifications.read",
  "approvals.read",
  "catalog.read",
  "rules.read",
  "services.read",
  "services.call",
  "signals.read",
  "hooks.read",
  "triggers.read",
  "actions.read",
]
const operator: readonly Permission[] = [
  ...viewer,
  "nodes.write",
  "groups.write",
  "workflows.write",
  "executions.run",
  "executions.control",
  "schedules.write",
  "secrets.read",
  "artifacts.write",
  "artifacts.download",
  "notifications.send",
  "approvals.answer",
  "approvals.submit",
  "catalog.launch",
  "catalog.control",
  "services.change",
  "signals.write",
  "triggers.write",
  "triggers.fire",
  "actions.control",
]
const admin: readonly Permission[] = [
  ...operator,
  "keys.read",
  "keys.write",
  "users.read",
  "users.write",
  "service-accounts.read",
  "service-accounts.write",
  "identity-providers.read",
  "identity-providers.write",
  "routes.read",
  "audit.read",
  "enrollment-keys.read",
  "enrollment-keys.write",
  "windows.write",
  "calendars.write",
  "calendars.review",
  "secrets.write",
  "notifications.write",
  "approvals.write",
  "catalog.write",
  "catalog.fulfil",
  "rules.write",
  "services.write",
  "hooks.write",
]

export const roles = {
  viewer,
  operator,
  approver: [...viewer, "approvals.answer", "calendars.review"],
  admin,
  /**
   * The installation's own administrator: everything of an account's, the accounts, the routing map, and secrets that
   * refer to the server's own machine.
   */
  platform: [...admin, "accounts.read", "accounts.write", "routes.write", "secrets.refer", "secrets.rotate"],
  /** Asks for approvals and reads what came of its own requests; fulfils launches of products that name it. */
  backend: [...ownSession, "approvals.submit", "catalog.fulfil"],
  /** Launches products, and looks after what it launched. */
  launcher: [...ownSession, "catalog.read", "catalog.launch"],
  /** Lets machines in and out, and nothing else: what a provisioner of nodes needs beside `backend`. */
  enroller: [...ownSession, "nodes.read", "nodes.write", "enrollment-keys.read", "enrollment-keys.write"],
  /** Calls services outside, and nothing else: what an application needs. */
  consumer: [...ownSession, "services.call", "services.change"],
  "job-server": ownSession,
  /** Held by an enrolled node's own signature, never by a key. */
  agent: ["sessions.open", "artifacts.download", "executions.evidence"],
  /** Held by the gate stage: keeps calls until they are approved, records those that skip calendars. */
  gate: ["approvals.hold", "calendars.break-glass"],
  /** Held by the service of rules: keeps the schedules that rules have. */
  timekeeper: ["schedules.keep"],
  /** Held by the router where it hands over what rules ask for. */
  performer: ["actions.perform"],
  /** Held by services that tell somebody of what they do. */
  notifier: ["notifications.deliver"],
  /** Held by the address of a calendar feed. */
  feed: ["calendars.subscribe"],
  /** Held by the address of a hook: one webhook after another. */
  hook: ["hooks.receive"],
  /** Held by a link in a message: one answer to one request. */
  link: ["approvals.link"],
  /** Held by an enrolment key. */
  enrollment: ["nodes.enroll"],
  /** Whoever has not logged in yet. */
  anonymous: ["auth.enter"],
  /** Every user, beside the roles that they are given. */
  member: ownSession,
} as const satisfies Record<string, readonly Permission[]>

export type RoleName = keyof typeof roles

/** The roles that a person may give to a user, a service account or an API key. */
export const grantableRoles = [
  "viewer",
  "operator",
  "approver",
  "admin",
  "platform",
  "backend",
  "launcher",
  "enroller",
  "consumer",
  "job-server",
] as const satisfies RoleName[]

export function permissionsOf(names: readonly RoleName[]): ReadonlySet<Permission> {
  return new Set(names.flatMap((name) => roles[name]))
}
