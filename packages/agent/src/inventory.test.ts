import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { inventory } from "@signalbox/contracts/fleet/inventory"
import { expect, test } from "vitest"
import { parseInstalled, parsePending } from "./apt-lists.ts"
import { collectInventory } from "./inventory.ts"

const hasDpkg = existsSync("/usr/bin/dpkg-query")

test("reads this very machine, in the contract's form, and asks apt again only after a change", async () => {
  const cache = {}
  const found = await collectInventory({ cache })
  inventory.parse(found)
  expect(found.hardware.cpus).toBeGreaterThan(0)
  expect(found.machineId.length).toBeGreaterThan(0)
  expect(found.packageManager).toBe(hasDpkg ? "apt" : "none")
  if (!hasDpkg) return
  const installed = readFileSync("/var/lib/dpkg/status", "utf8").match(/^Status: \S+ \S+ installed$/gm)
  expect(found.packages.length).toBe(installed?.length)
  if (found.problems.length === 0) expect((await collectInventory({ cache })).packages).toBe(found.packages)
})

test("reads the package database of its own root where there is one", async () => {
  const root = mkdtempSync(join(tmpdir(), "signalbox root "))
  try {
    mkdirSync(join(root, "var/lib/dpkg/info"), { recursive: true })
    mkdirSync(join(root, "etc"))
    writeFileSync(join(root, "etc/os-release"), 'PRETTY_NAME="Root OS 1"\nID=rootos\nVERSION_ID="1"\n')
    const entry =
      "Package: only-here\nStatus: install ok installed\nVersion: 1.2-3\nArchitecture: all\nMaintainer: a <a@b>\nDescription: d\n"
    writeFileSync(join(root, "var/lib/dpkg/status"), entry)
    const found = await collectInventory({ root })
    expect(found.os).toMatchObject({ name: "Root OS 1", id: "rootos", version: "1" })
    if (hasDpkg) expect(found.packages).toEqual([{ name: "only-here", version: "1.2-3", architecture: "all" }])
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
})

test("never throws: a root that isn't there is a problem on the list", async () => {
  const found = inventory.parse(await collectInventory({ root: "/nowhere/at/all" }))
  expect(found.problems.length).toBeGreaterThan(0)
  expect(found.packageManager).toBe("none")
})

test("reads what dpkg-query and apt-get print", () => {
  const installed =
    "adduser\t3.134\tall\tinstalled\nold\t1\tamd64\tconfig-files\nlibc6\t2.36-9+deb12u10\tamd64\tinstalled\n"
  expect(parseInstalled(installed).map(({ name }) => name)).toEqual(["adduser", "libc6"])
  const simulated = [
    "NOTE: This is only a simulation!",
    "Inst openssl [3.0.17-1~deb12u2] (3.0.18-1~deb12u1 Debian:12.12/oldstable, Debian-Security:12/oldstable-security [amd64])",
    "Inst libnew (1.0-1 Debian:12.12/oldstable [amd64])",
    "Inst libc6:i386 [2.36-9] (2.36-10 Ubuntu:22.04/jammy-updates [i386]) []",
    "Conf openssl (3.0.18-1~deb12u1 Debian:12.12/oldstable [amd64])",
  ]
  expect(parsePending(simulated.join("\n"))).toEqual([
    {
      name: "openssl",
      fromVersion: "3.0.17-1~deb12u2",
      toVersion: "3.0.18-1~deb12u1",
      architecture: "amd64",
      origin: "Debian:12.12/oldstable, Debian-Security:12/oldstable-security",
      security: true,
    },
    { name: "libnew", toVersion: "1.0-1", architecture: "amd64", origin: "Debian:12.12/oldstable", security: false },
    {
      name: "libc6",
      fromVersion: "2.36-9",
      toVersion: "2.36-10",
      architecture: "i386",
      origin: "Ubuntu:22.04/jammy-updates",
      security: false,
    },
  ])
})
