import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { enrollMachine, startFleetServer, type FleetServer, type TestMachine } from "./fleet.fixture.ts"
import { findPackageChanges, packageChangesMax, type PackageState } from "./package-changes.ts"

type Package = PackageState["packages"][number]

const pack = (name: string, version: string, changedAt?: number): Package => ({
  ...{ name, version, architecture: "amd64" },
  ...(changedAt === undefined ? {} : { changedAt }),
})
const state = (packages: Package[], more: Partial<PackageState> = {}): PackageState => ({
  ...{ packageManager: "apt", packages, problems: [] },
  ...more,
})

describe("X4: what changed from one inventory to the next", () => {
  test("packages come, go and change", () => {
    const before = state([pack("openssl", "1"), pack("curl", "1"), pack("bash", "1")])
    const after = state([pack("openssl", "2", 1_900_000_000), pack("bash", "1", 5), pack("vim", "9")])
    const amd64 = { architecture: "amd64", changedAt: null }
    expect(findPackageChanges(before, after)).toEqual([
      { ...amd64, package: "openssl", fromVersion: "1", toVersion: "2", changedAt: 1_900_000_000_000 },
      { ...amd64, package: "vim", fromVersion: null, toVersion: "9" },
      { ...amd64, package: "curl", fromVersion: "1", toVersion: null },
    ])
  })

  test("a list that is not whole says nothing of what is missing on it", () => {
    const full = state([pack("openssl", "1"), pack("curl", "1")])
    const halves = [
      state([], { packageManager: "none" }),
      state([], { problems: ["dpkg-query: exit code 2"] }),
      state([pack("openssl", "1")], { problems: ["the lists are cut: 9000 packages do not fit"] }),
      state([pack("openssl", "1")], { problems: ["packages: Error: only 20000 are listed"] }),
    ]
    for (const half of halves) {
      expect(findPackageChanges(full, half)).toEqual([])
      expect(findPackageChanges(half, full)).toEqual([])
    }
    const many = state(Array.from({ length: packageChangesMax + 10 }, (_, n) => pack(`p${n}`, "1")))
    expect(findPackageChanges(full, many)).toHaveLength(packageChangesMax)
  })
})

describe("X4: the history of a node's packages", () => {
  let test_: TestDatabase
  let server: FleetServer

  beforeAll(async () => {
    test_ = await createTestDatabase()
    server = await startFleetServer({ database: test_.database })
  })
  afterAll(async () => {
    await server.stop()
    await test_.drop()
  })

  const inventoryOf = (machine: TestMachine, packages: Package[]) => ({
    ...{ hostname: "web-1", machineId: machine.machineId, packageManager: "apt", packages, pending: [], problems: [] },
    os: { name: "Debian", id: "debian", kernel: "6", architecture: "x86_64" },
    hardware: { cpus: 2, memoryBytes: 4_000_000_000 },
  })

  test("is told the newest first, in pages, of one package or of all, and goes with the node", async () => {
    const machine = await enrollMachine(server)
    const session = await machine.connect(server)
    const report = async (packages: Package[]): Promise<void> => {
      session.send({ type: "inventory", inventory: inventoryOf(machine, packages) })
      const stored = async () => {
        const { inventory } = await server.call<{ inventory?: { packages: Package[] } }>("nodes.inventory", {
          node: machine.node,
        })
        expect(inventory?.packages).toEqual(packages)
      }
      await vi.waitFor(stored, { timeout: 30_000 })
    }
    await report([pack("openssl", "1"), pack("curl", "1")])
    await report([pack("openssl", "2"), pack("curl", "2")])
    await report([pack("openssl", "3")])
    const list = (more: object) =>
      server.call<{ items: Array<{ package: string; seenAt: string; seenAfter: string }>; nextCursor?: string }>(
        "nodes.package-changes",
        { node: machine.node, limit: 100, ...more },
      )
    const all = (await list({})).items
    expect(all).toMatchObject([
      { package: "curl", fromVersion: "2" },
      { package: "openssl", fromVersion: "2", toVersion: "3" },
      { package: "curl", fromVersion: "1", toVersion: "2" },
      { package: "openssl", fromVersion: "1", toVersion: "2" },
    ])
    for (const { seenAt, seenAfter } of all) expect(Date.parse(seenAfter)).toBeLessThanOrEqual(Date.parse(seenAt))
    expect((await list({ package: "openssl" })).items).toHaveLength(2)
    const pages: unknown[] = []
    for (let cursor: string | undefined, more = true; more;) {
      const page = await list({ limit: 1, ...(cursor === undefined ? {} : { cursor }) })
      pages.push(...page.items)
      cursor = page.nextCursor
      more = cursor !== undefined
    }
    expect(pages).toEqual(all)
    session.end()
    await server.call("nodes.remove", { node: machine.node })
    expect(await test_.database.query("select 1 from node_package_changes")).toEqual([])
  })
})
