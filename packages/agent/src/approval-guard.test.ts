import { mkdtemp, readdir, rm, utimes } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import {
  type Approved,
  approve,
  type Evidence,
  identity,
  members,
  newVoteKey,
  orderFor,
  proofOf,
  targets,
  trust,
} from "./approval-evidence.fixture.ts"
import { ApprovalGuard } from "./approval-guard.ts"

let directory: string
// As files have it.
const now = Date.now()
const { signal: stop } = new AbortController()
const run = (letter: string): string => `exe_${letter.repeat(26)}`

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox approvals "))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

interface Shown extends Partial<Approved> {
  readonly proof?: Evidence["proof"] | undefined
  readonly account?: string
}

/** A node to which this is shown, whatever it asks for. */
function guardOf(shown: Shown = {}): ApprovalGuard {
  const approval = approve({ now, ...shown })
  const proof = "proof" in shown ? shown.proof : proofOf(1)
  const evidence = { approval, ...(proof && { proof }) }
  const { account = identity.account } = shown
  return new ApprovalGuard({
    ...{ dataDirectory: directory, clock: { now: () => now }, identity: { ...identity, account } },
    fetchEvidence: () => Promise.resolve(evidence),
  })
}

const judged = (changes: { key?: string; order?: ReturnType<typeof orderFor>; startBefore?: number } = {}) => ({
  ...{ key: `${run("a")}/4/1`, order: orderFor({ name: "web-1" }), startBefore: now + 1000, stop, ...changes },
})

describe("A18: an order runs only with an approval", () => {
  test("that enough members signed for it and for this node", async () => {
    expect(await guardOf().refuses(trust, judged())).toBeUndefined()
  })

  const day = 24 * 3_600_000
  const signed = (...votes: NonNullable<Approved["votes"]>): Shown => ({ votes })
  const { ada, ben } = members
  const refusals: Record<string, [shown: Shown, reason: string]> = {
    "one member's alone": [signed({ key: ada }), "1 of 2 trusted members"],
    "one member's twice": [signed({ key: ada }, { key: ada }), "1 of 2 trusted members"],
    "strangers' signatures": [signed({ key: ada }, { key: newVoteKey() }), "1 of 2 trusted members"],
    "a denial": [signed({ key: ada }, { key: ben, choice: "deny" }), "1 of 2 trusted members"],
    "another content's vote": [signed({ key: ada }, { key: ben, digest: "0".repeat(64) }), "1 of 2 trusted members"],
    "votes of two requests": [signed({ key: ada }, { key: ben, request: "apr_2" }), "signed for apr_2"],
    "another account": [{ account: "other" }, "of the account main, not other"],
    "an old vote": [signed({ key: ada }, { key: ben, at: new Date(now - 8 * day).toISOString() }), "older than 7d"],
    "a vote of the future": [
      signed({ key: ada }, { key: ben, at: new Date(now + day).toISOString() }),
      "of the future",
    ],
    "no proof": [{ proof: undefined }, "not among the targets"],
    "another target's proof": [{ proof: { ...proofOf(1), index: 0 } }, "not among the targets"],
    "another node": [{ proof: proofOf(0) }, "another node's"],
    "another tree": [{ plan: { targetsRoot: "0".repeat(64) } }, "not among the targets"],
    "too many targets": [{ plan: { targetsRoot: undefined } as never }, "more targets than can be proven"],
    "another order": [{ plan: { order: orderFor({ name: "web-2" }) } }, "steps.0.command.shell"],
    "an order that is not spelled out": [{ plan: { order: undefined } as never }, "too long to be compared"],
  }
  test.each(Object.entries(refusals))("not with %s", async (_name, [shown, reason]) => {
    expect(await guardOf(shown).refuses(trust, judged())).toContain(reason)
    expect(await readdir(directory)).toEqual([])
  })

  test("not where the policy wants more, or younger", async () => {
    expect(await guardOf().refuses({ ...trust, quorum: 3 }, judged())).toContain("2 of 3")
    const old = signed(...[ada, ben].map((key) => ({ key, at: new Date(now - 2 * day).toISOString() })))
    expect(await guardOf(old).refuses({ ...trust, maxAge: "1d" }, judged())).toContain("older than 1d")
    expect(await guardOf(old).refuses(trust, judged())).toBeUndefined()
  })

  test("not where the server shows none", async () => {
    const fetchEvidence = () => Promise.reject(new Error("out of reach"))
    const guard = new ApprovalGuard({ dataDirectory: directory, clock: { now: () => now }, identity, fetchEvidence })
    expect(await guard.refuses(trust, judged())).toContain("out of reach")
  })
})

describe("A18: an approval is used once", () => {
  test("for one run, one number in it, and each attempt once, also by an agent that comes after", async () => {
    expect(await guardOf().refuses(trust, judged())).toBeUndefined()
    expect(await guardOf().refuses(trust, judged())).toBeUndefined()
    expect(await guardOf().refuses(trust, judged({ startBefore: now + 2000 }))).toContain("attempt 1 was carried out")
    expect(await guardOf().refuses(trust, judged({ key: `${run("a")}/4/2` }))).toBeUndefined()
    expect(await guardOf().refuses(trust, judged({ key: `${run("a")}/4/3` }))).toContain("one more than the 2")
    expect(await guardOf().refuses(trust, judged({ key: `${run("a")}/5/1` }))).toContain("as number 4")
    expect(await guardOf().refuses(trust, judged({ key: `${run("b")}/4/1` }))).toContain(`used for ${run("a")}`)
    expect(await guardOf({ request: "apr_2" }).refuses(trust, judged({ key: `${run("b")}/4/1` }))).toBeUndefined()
  })

  test("on a node that stands in for others: once for each of them", async () => {
    const standsIn = guardOf({ proof: proofOf(2) })
    expect(await guardOf().refuses(trust, judged())).toBeUndefined()
    const other = { key: `${run("a")}/7/1`, order: orderFor({ name: "db-1" }) }
    expect(await standsIn.refuses(trust, judged(other))).toBeUndefined()
    expect(await standsIn.refuses(trust, judged({ ...other, key: `${run("a")}/8/1` }))).toContain("as number 7")
    expect(targets[2]?.runner).toBe(identity.node)
  })

  test("and that is remembered for as long as any policy could trust it", async () => {
    const files = join(directory, "approvals")
    expect(await guardOf().refuses(trust, judged())).toBeUndefined()
    const [name = ""] = await readdir(files)
    const age = async (days: number) => {
      const at = new Date(now - days * 24 * 3_600_000)
      await utimes(join(files, name), at, at)
      await guardOf({ request: "apr_3" }).refuses(trust, judged({ key: `${run("c")}/0/1` }))
      return (await readdir(files)).includes(name)
    }
    expect(await age(399)).toBe(true)
    expect(await age(402)).toBe(false)
  })
})

describe("A18: a health check runs only where it was approved", () => {
  const probe = { on: "web-1", command: "curl -f localhost" }
  const asked = { id: `${run("a")}:req_1`, command: { shell: probe.command }, stop }
  test("on the node that the plan names, for its run", async () => {
    const guard = guardOf({ plan: { probe }, proof: undefined })
    expect(await guard.refusesProbe(trust, asked)).toBeUndefined()
    expect(await guard.refusesProbe(trust, asked)).toBeUndefined()
    expect(await guard.refusesProbe(trust, { ...asked, id: `${run("b")}:req_1` })).toContain(`used for ${run("a")}`)
    expect(await guard.refusesProbe(trust, { ...asked, id: "req_1" })).toContain("names no run")
    expect(await guard.refusesProbe(trust, { ...asked, command: { shell: "reboot" } })).toContain("not the one")
    expect(await guard.refusesProbe(trust, { ...asked, command: { argv: [probe.command] } })).toContain("not the one")
    const elsewhere = guardOf({ plan: { probe: { ...probe, on: "web-2" } } })
    expect(await elsewhere.refusesProbe(trust, asked)).toContain("not the one")
    expect(await guardOf().refusesProbe(trust, asked)).toContain("not the one")
  })
})
