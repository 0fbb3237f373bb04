/** The parts that keep tables, in the order in which their migrations run: a later one may refer to an earlier one. */
export const components = [
  "storage",
  "router",
  "identity",
  "audit",
  "routing",
  "fleet",
  "workflows",
  "calendars",
  "secrets",
  "artifacts",
  "notifications",
  "approvals",
  "catalog",
  "rules",
  "gateway",
  "metering",
] as const
