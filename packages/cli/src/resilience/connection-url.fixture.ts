import type { Connection } from "@signalbox/server/storage/database"

/** A test database as a user would give it in `DATABASE_URL`. */
export function urlOf(connection: Connection): string {
  if (typeof connection === "string") return connection
  const { host, port, user, password, database } = connection
  const query = new URLSearchParams({ host: host ?? "", port: String(port ?? 5432) }).toString()
  return `postgres://${user}${password ? `:${String(password)}` : ""}@/${database}?${query}`
}
