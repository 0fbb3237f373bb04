import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { makeMachineId } from "./agent-identity.ts"

let directory: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox cards "))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

async function addInterface(name: string, address: string, isCard: boolean): Promise<void> {
  await mkdir(join(directory, name, ...(isCard ? ["device"] : [])), { recursive: true })
  await writeFile(join(directory, name, "address"), `${address}\n`)
}

test("X7: a machine without an id keeps the one made for it, whatever bridges and tunnels come and go", async () => {
  await addInterface("lo", "00:00:00:00:00:00", false)
  await addInterface("eth0", "52:54:00:00:00:01", true)
  const id = makeMachineId("web-1", directory)
  expect(id).toMatch(/^[0-9a-f]{32}$/)
  await addInterface("docker0", "02:42:00:00:00:09", false)
  await addInterface("veth1", "02:42:00:00:00:10", false)
  expect(makeMachineId("web-1", directory)).toBe(id)
})

test("X7: a clone with a card of its own, or another name, is another machine", async () => {
  await addInterface("eth0", "52:54:00:00:00:01", true)
  const id = makeMachineId("web-1", directory)
  expect(makeMachineId("web-2", directory)).not.toBe(id)
  await addInterface("eth0", "52:54:00:00:00:02", true)
  expect(makeMachineId("web-1", directory)).not.toBe(id)
  expect(makeMachineId("web-1", join(directory, "none"))).toMatch(/^[0-9a-f]{32}$/)
})
