/**
 * Roles are named sets of permissions; each operation names the one permission it needs (D22). A new permission goes
 * into the roles that hold it here, and nowhere else.
 */
export const permissions = [
  "accounts.read",
  "accounts.write",
  "keys.read",
  "keys.write",
  "auth.read",
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
  "schedules.read",
  "schedules.write",
  "windows.read",
  "windows.write",
  "secrets.read",
  "secrets.write",
  "secrets.refer",
  "artifacts.read",
  "artifacts.write",
  "artifacts.download",
  "notifications.read",
  "notifications.write",
  "notifications.send",
] as const

export type Permission = (typeof permissions)[number]

const ownSession: readonly Permission[] = ["auth.read", "operations.read"]
const viewer: readonly Permission[] = [
  ...ownSession,
  "events.read",
  "nodes.read",
  "groups.read",
  "workflows.read",
  "executions.read",
  "artifacts.read",
  "schedules.read",
  "windows.read",
  "notifications.read",
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
]
const admin: readonly Permission[] = [
  ...operator,
  "keys.read",
  "keys.write",
  "routes.read",
  "audit.read",
  "enrollment-keys.read",
  "enrollment-keys.write",
  "windows.write",
  "secrets.write",
  "notifications.write",
]

export const roles = {
  viewer,
  operator,
  approver: viewer,
  admin,
  /**
   * The installation's own administrator: everything of an account's, the accounts, the routing map, and secrets that
   * refer to the server's own machine.
   */
  platform: [...admin, "accounts.read", "accounts.write", "routes.write", "secrets.refer"],
  backend: ownSession,
  "job-server": ownSession,
  /** Held by an enrolled node's own signature, never by a key. */
  agent: ["sessions.open", "artifacts.download"],
  /** Held by an enrolment key. */
  enrollment: ["nodes.enroll"],
} as const satisfies Record<string, readonly Permission[]>

export type RoleName = keyof typeof roles

/** The roles that a person may give to an API key. */
export const grantableRoles = [
  "viewer",
  "operator",
  "approver",
  "admin",
  "platform",
  "backend",
  "job-server",
] as const satisfies RoleName[]

export function permissionsOf(names: readonly RoleName[]): ReadonlySet<Permission> {
  return new Set(names.flatMap((name) => roles[name]))
}
