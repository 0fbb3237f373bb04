import { expect, test } from "vitest"
import { parseInventory } from "../inventories/inventory.ts"
import { planInstall } from "./install-plan.ts"

const inventory = parseInventory("[web]\nWeb_1\nhere ansible_connection=local\n", "hosts.ini")

test("a host that ssh does not reach is no target of an installation, but its groups can be taken over", () => {
  expect(() => planInstall(inventory, { tagFromGroups: true, limit: [] })).toThrow("as they stand")
  const targets = planInstall(inventory, { tagFromGroups: true, limit: [], isReached: false })
  expect(targets.map(({ name, tags }) => ({ name, tags }))).toEqual([
    { name: "web_1", tags: { "group.web": "" } },
    { name: "here", tags: { "group.web": "" } },
  ])
})

test("two hosts that would be one node are refused either way", () => {
  const twins = parseInventory("Web-1\nweb-1\n", "hosts.ini")
  expect(() => planInstall(twins, { tagFromGroups: true, limit: [], isReached: false })).toThrow("as they stand")
})
