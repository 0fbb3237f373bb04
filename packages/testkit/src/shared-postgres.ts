/**
 * Vitest's global set-up: one private PostgreSQL for the whole run, whose address reaches the test files through
 * `inject`. It keeps nothing that a test is about, so it does not wait for the disk; tests of durability start their own.
 */
import { mkdtemp, readdir, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Connection } from "@signalbox/server/storage/database"
import { startPrivatePostgres } from "@signalbox/server/storage/private-postgres"
import { isIdentityAlive, ownIdentity } from "@signalbox/server/storage/process-identity"
import type { TestProject } from "vitest/node"

declare module "vitest" {
  interface ProvidedContext {
    sharedPostgres: Connection
  }
}

const prefix = "signalbox-tests-"

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
  await removeLeftovers()
  const dataDirectory = await mkdtemp(join(tmpdir(), `${prefix}${await ownIdentity()}-`))
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

/** Folders of runs that were killed. */
async function removeLeftovers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(prefix) || (await isIdentityAlive(name.slice(prefix.length)))) continue
    await rm(join(tmpdir(), name), { recursive: true, force: true }).catch(() => {})
  }
}
