import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, onTestFinished, test } from "vitest"
import { resolveConnection } from "./connection.ts"
import { contextFilePath, readContexts, writeContexts } from "./contexts.ts"
import { cli, TestIo } from "./test-io.fixture.ts"

const stored = {
  current: "prod",
  contexts: {
    prod: { url: "https://prod:1", key: "sbx_prod" },
    dev: { url: "https://dev:1", key: "sbx_dev", caPem: "PEM" },
  },
}

async function configured(): Promise<{ XDG_CONFIG_HOME: string }> {
  const directory = await mkdtemp(join(tmpdir(), "signalbox cli "))
  onTestFinished(() => rm(directory, { recursive: true }))
  const environment = { XDG_CONFIG_HOME: directory }
  await writeContexts(contextFilePath(environment), stored)
  return environment
}

test("logins are readable by their owner only", async () => {
  const path = contextFilePath(await configured())
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  expect((await stat(join(path, ".."))).mode & 0o777).toBe(0o700)
  expect(await readContexts(path)).toEqual(stored)
})

test("the current login is used, or the one that is named", async () => {
  const environment = await configured()
  expect(await resolveConnection({}, new TestIo({ environment }))).toEqual({ url: "https://prod:1", key: "sbx_prod" })
  const dev = { url: "https://dev:1", key: "sbx_dev", caPem: "PEM" }
  expect(await resolveConnection({ context: "dev" }, new TestIo({ environment }))).toEqual(dev)
  const named = { ...environment, SIGNALBOX_CONTEXT: "dev", SIGNALBOX_SERVER: "https://other:1" }
  expect(await resolveConnection({}, new TestIo({ environment: named }))).toEqual(dev)
  await expect(resolveConnection({ context: "x" }, new TestIo({ environment }))).rejects.toThrow(/there is: prod, dev/)
})

test("a stored key is never sent to another server than its own", async () => {
  const environment = await configured()
  expect(await resolveConnection({ server: "https://evil:1" }, new TestIo({ environment }))).toEqual({
    url: "https://evil:1",
  })
  const variable = { ...environment, SIGNALBOX_SERVER: "https://evil:1" }
  expect(await resolveConnection({}, new TestIo({ environment: variable }))).toEqual({ url: "https://evil:1" })
})

test("a damaged file says so; contexts lists without keys, chooses and forgets", async () => {
  const environment = await configured()
  const list = await cli(["contexts", "--json"], { environment })
  expect(JSON.parse(list.stdout).items).toHaveLength(2)
  expect(list.stdout).not.toContain("sbx_")
  expect((await cli(["contexts", "use", "dev"], { environment })).code).toBe(0)
  expect((await cli(["logout"], { environment })).stdout).toContain("none")
  expect((await cli(["contexts", "remove", "dev"], { environment })).code).toBe(2)
  expect(await readFile(contextFilePath(environment), "utf8")).not.toContain("sbx_dev")
  await writeFile(contextFilePath(environment), "{")
  expect((await cli(["contexts"], { environment })).stderr).toContain("is damaged; remove it and log in again")
})
