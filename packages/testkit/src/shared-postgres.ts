/**
 * Vitest's global set-up: one private PostgreSQL for the whole run, whose address reaches the test files through
 * `inject`. It keeps nothing that a test is about, so it does not wait for the disk; tests of durability start their own.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Connection } from "@signalbox/server/storage/database"
import { startPrivatePostgres } from "@signalbox/server/storage/private-postgres"
import type { TestProject } from "vitest/node"

declare module "vitest" {
  interface ProvidedContext {
    sharedPostgres: Connection
  }
}

/** Where set, the tests run on this PostgreSQL (postgres://user:password@host:port) instead of a private one. */
const addressVariable = "SIGNALBOX_TEST_POSTGRES"

let stop: () => Promise<void> = async () => {}

export async function setup(project: TestProject): Promise<void> {
  const address = process.env[addressVariable]
  if (address !== undefined) {
    const { hostname, port, username, password } = new URL(address)
    project.provide("sharedPostgres", { host: hostname, port: Number(port), user: username, password })
    return
  }
  const dataDirectory = await mkdtemp(join(tmpdir(), "postgres-"))
  const postgres = await startPrivatePostgres({
    dataDirectory,
    settings: { fsync: "off", full_page_writes: "off", max_connections: "300" },
  })
  project.provide("sharedPostgres", postgres.connection)
  stop = async () => {
    await postgres.stop()
    await rm(dataDirectory, { recursive: true, force: true })
  }
}

export async function teardown(): Promise<void> {
  await stop()
}
