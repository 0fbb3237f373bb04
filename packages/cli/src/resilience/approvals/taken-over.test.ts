import { randomInt } from "node:crypto"
import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { executionsCreate } from "@signalbox/contracts/workflows/operations"
import { afterAll, beforeAll, expect, test } from "vitest"
import { done } from "./approvals-installation.fixture.ts"
import { deploy, openTakenOver, type Asked, type TakenOver } from "./taken-over.fixture.ts"

/**
 * Nodes that believe their members and no server. Server, agents and commands are processes; what a taker-over would do
 * is done in the server's database.
 */
let world: TakenOver
let proper: Asked
let execution: string

const input = (version: string, node = "web-1") => ({
  workflow: "deploy",
  parameters: { version },
  targets: { nodes: [node] },
})
const later = { notBefore: new Date(Date.now() + 300 * 24 * 3_600_000).toISOString() }

beforeAll(async () => {
  world = await openTakenOver()
}, 180_000)
afterAll(() => world.stop())

async function approved(held: Promise<Asked>): Promise<Asked> {
  const asked = await held
  await world.approve("ada", asked)
  await world.approve("ben", asked)
  return asked
}

test("A18: what two members signed runs on the node that they signed it for", { timeout: 120_000 }, async () => {
  proper = await world.hold(input("1.0"))
  await expect(world.approve("ada", proper, { isSigned: false })).rejects.toThrow("approvals.signature-required")
  await world.approve("ada", proper)
  await world.approve("ben", proper)
  execution = await world.runOf(proper)
  expect(await world.endOf(execution)).toMatchObject({ state: "succeeded" })
  expect(await world.written("web-1")).toBe("web-1 has 1.0\n")
})

test("A18: a server that was taken over gets nothing run that they have not signed", { timeout: 300_000 }, async () => {
  const { client } = world.installation
  const other = await approved(world.hold(input("2.0"), later))
  const loose = await world.hold({ ...input("3.0"), workflow: "loose" })
  await world.approve("ada", loose, { isSigned: false })
  // The signatures of another plan's votes, beside votes that nobody signed.
  const signatures = `(select signature from approval_votes where request_id = '${proper.id}' order by number limit 1)`
  await world.database.database.query(`update approval_votes set signature = ${signatures} where request_id = $1`, [
    loose.id,
  ])
  await world.approve("ben", loose, { isSigned: false })
  const document = deploy.replace("name: deploy", "name: unasked")
  const unasked = await client.call(executionsCreate, { ...input("4.0"), workflow: undefined, document })
  const forgeries: Record<string, [execution: string | Promise<string>, reason: string]> = {
    "no approval": [done(unasked).id, "executions.not-approved"],
    "votes of the installation alone": [world.runOf(loose), "0 of 2 trusted members"],
    "an approval that was used": [world.forge(execution, { approval: proper.id }), `used for ${execution} already`],
    "another plan's approval": [world.forge(execution, { approval: other.id }), "SIGNALBOX_PARAM_VERSION"],
    "one byte of the command": [
      world.forge(execution, { approval: other.id, parameters: { version: "2.0" }, replace: ["has", "hat"] }),
      "steps.0.command.shell",
    ],
    "another rollback": [
      world.forge(execution, {
        approval: other.id,
        parameters: { version: "2.0" },
        replace: ['["deployed.txt"]', "[]"],
      }),
      "save.0",
    ],
    "another node": [
      world.forge(execution, { approval: other.id, parameters: { version: "2.0" }, node: "web-2" }),
      "not among the targets",
    ],
    "a request that is none": [world.forge(execution, { approval: "apr_nothing" }), "approvals.request-not-found"],
  }
  for (const [name, [forged, reason]] of Object.entries(forgeries)) {
    const end = await world.endOf(await forged)
    expect({ name, ...end }).toMatchObject({ name, state: "failed", class: "unapproved" })
    expect(end.message, name).toContain(reason)
  }
  const command = await world.installation.run(["exec", "-n", "web-1", "--", "uptime"], await world.asAdmin())
  expect(command.code, command.stderr).toBe(1)
  expect(await world.written("web-1")).toBe("web-1 has 1.0\n")
  expect(await world.written("web-2")).toBe("")

  // All of it as it was signed: whoever wrote it into the database, that is what they wanted; but once.
  const exact = { approval: other.id, parameters: { version: "2.0" } }
  expect(await world.endOf(await world.forge(execution, exact))).toMatchObject({ state: "succeeded" })
  expect(await world.endOf(await world.forge(execution, exact))).toMatchObject({ state: "failed", class: "unapproved" })
  expect(await world.written("web-1")).toBe("web-1 has 1.0\nweb-1 has 2.0\n")
})

test("A18: an agent that was killed remembers what an approval was used for", { timeout: 120_000 }, async () => {
  await world.installation.node("web-1").agent.end("SIGKILL")
  world.installation.restartAgent("web-1")
  const again = await world.forge(execution, { approval: proper.id })
  expect((await world.endOf(again)).message).toContain(`used for ${execution} already`)
})

test("A18: `approvals verify` needs no server, and one changed byte fails", { timeout: 120_000 }, async () => {
  const { installation, trustFile } = world
  const file = join(installation.directory, "approval.json")
  await writeFile(file, await installation.succeed(["approvals", "export", proper.id], await world.asAdmin()))
  const keys = JSON.parse(await installation.succeed(["signing-keys", "list", "--json"], await world.asAdmin())) as {
    items: Array<{ publicKey: string }>
  }
  await writeFile(
    trustFile,
    `${await readFile(trustFile, "utf8")}installation: ${JSON.stringify(keys.items.map(({ publicKey }) => publicKey))}\n`,
  )
  await installation.server.end("SIGTERM")
  const verify = () =>
    installation.run(["approvals", "verify", file, "--trust", trustFile], { SIGNALBOX_DATA: "/nowhere" })
  const good = await verify()
  expect(good, good.stderr).toMatchObject({ code: 0 })
  expect(good.stdout).toContain(`valid: ${proper.id}`)
  const text = await readFile(file)
  const changed = Buffer.from(text)
  const at = randomInt(changed.length)
  changed[at] = (changed[at] ?? 0) ^ 1
  await writeFile(file, changed)
  const bad = await verify()
  expect(bad, `byte ${at}`).toMatchObject({ code: 1 })
  expect(bad.stdout).toMatch(/^not valid: \S.*: /)
})
