/** Calls of rules' actions, and calls that rules hold, while they wait for an approval: what members see, and when the rule goes. */
import { actionsGet } from "@signalbox/contracts/actions/operations"
import { approvalRequestsApprove } from "@signalbox/contracts/approvals/answers"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { heldOperationsGet } from "@signalbox/contracts/approvals/held-operations"
import { approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { groupsGet, resourcesApply } from "@signalbox/contracts/fleet/operations"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { addJob } from "../../storage/background-queue.ts"
import { findLink, open } from "../approvals/link-pages.fixture.ts"
import { untilTrue, type Member } from "../approvals/approvals.fixture.ts"
import { MailReceiver } from "../notifications/notifications.fixture.ts"
import { startActions, type ActionsFixture, type RuleInput } from "./actions.fixture.ts"

const mails = new MailReceiver()
const address = "ada@example.org"
let fixture: ActionsFixture
let directory: string
let ada: Member
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox held rules "))
  await mails.start(directory)
  fixture = await startActions({
    mail: { url: mails.url, from: "Signalbox <signalbox@example.org>", startTls: "require", caPem: mails.caPem },
  })
  const { admin } = fixture
  ada = await fixture.member("ada", ["approver"])
  await fixture.call(admin, approvalGroupsApply, {
    name: "leads",
    members: [{ principal: ada.principal, mail: address }],
  })
  const levels = [{ name: "only", group: "leads", strategy: { kind: "any" as const } }]
  await fixture.call(admin, templatesApply, { name: "one", levels })
  const selector = { operation: resourcesApply.name }
  await fixture.call(admin, associationsApply, { name: "resources", template: "one", selector })
}, 120_000)
afterAll(async () => {
  await fixture.stop()
  await mails.stop()
  await rm(directory, { recursive: true })
})

const requestOf = (url: string | undefined): string => url?.split("/").at(-1) ?? ""
const request = (id: string) => fixture.call(fixture.admin, approvalRequestsGet, { request: id })
const acts = (type: string): RuleInput => ({
  on: [{ event: type }],
  do: [{ operation: "resources.apply", input: { name: "${{ event.data.name }}", kind: "pool" } }],
})
const run = (id: string) => fixture.call(fixture.admin, actionsGet, { action: id })

/** The run of a rule whose call waits, and its request. */
async function holdRun(rule: string, more: Partial<RuleInput> = {}): Promise<{ id: string; held: string }> {
  await fixture.rule(rule, { ...acts(`${rule}.happened`), ...more })
  await fixture.tell(`${rule}.happened`, [`${rule}-1`])
  const [found] = await fixture.runs(rule, { count: 1, states: ["held"] })
  return { id: found?.id ?? "", held: requestOf(found?.requestUrl) }
}

describe("A8, R8: a request tells which rule has a part in the call, and why", () => {
  test("of a rule's action: in the request, in the mail and on the page of its link", async () => {
    const { held } = await holdRun("shown", { description: "keep a pool for each" })
    const reason = "it acts on shown.happened of shown-1; keep a pool for each"
    expect((await request(held)).rules).toEqual([{ name: "shown", version: 1, part: "acts", reason }])
    const { page } = await open(await findLink(mails, { url: fixture.server.url, address, request: held }))
    expect(page).toContain(`Action of the rule</dt><dd>shown, version 1: ${reason}`)
    const mail = mails.mails.find(({ text }) => text.includes(held))?.text.replace(/=\r?\n/g, "")
    expect(mail).toContain("Action of the rule: shown, version 1")
  })

  test("of a rule that holds somebody's call: with its own reason, or else its description", async () => {
    const gate = (name: string, reason?: string) =>
      fixture.rule(name, {
        description: `what ${name} is for`,
        on: [{ operation: "groups.put", phase: "before" }],
        when: 'input.name == "watched"',
        do: [{ requireApproval: { template: "one", ...(reason !== undefined && { reason }) } }],
      })
    await gate("gate-a", "groups of that name are paged")
    await gate("gate-b")
    const reply = await fixture.server.call(fixture.admin, "PUT", "/v1/groups/watched", { query: "a=b" })
    expect(reply.status, JSON.stringify(reply.body)).toBe(202)
    const { rules } = await request(requestOf(String(reply.body["requestUrl"])))
    expect(rules).toEqual([
      { name: "gate-a", version: 1, part: "gates", reason: "groups of that name are paged" },
      { name: "gate-b", version: 1, part: "gates", reason: "what gate-b is for" },
    ])
    await fixture.removeRule("gate-a")
    await fixture.removeRule("gate-b")
  })
})

describe("R8: a rule that goes takes the calls with it that still wait", () => {
  test("one that was removed: nobody is asked any more, and the run says why", async () => {
    const { id, held } = await holdRun("removed")
    await fixture.removeRule("removed")
    await untilTrue(async () => (await run(id)).state === "cancelled")
    expect((await run(id)).error).toEqual({
      code: "actions.rule-removed",
      message: 'the rule "removed" was removed or disabled',
    })
    expect(await request(held)).toMatchObject({
      state: "cancelled",
      outcome: { by: { key: "rule:removed" }, comment: 'the rule "removed" was removed or disabled' },
    })
    const { digest } = await request(held)
    expect(await fixture.refusal(ada.key, approvalRequestsApprove, { request: held, digest })).toBe(
      "approvals.request-ended",
    )
  })

  test("one that was disabled: a call that was approved, and waits for its time, never runs", async () => {
    await fixture.rule("later", {
      on: [{ operation: "groups.put", phase: "before" }],
      when: 'caller.kind == "rule"',
      do: [{ delay: "1h" }],
    })
    const own: Partial<RuleInput> = {
      do: [{ operation: "groups.put", input: { name: "${{ event.data.name }}", query: "a=b" } }],
    }
    const { id, held } = await holdRun("disabled", own)
    const kept = await holdRun("kept", own)
    await untilTrue(async () => (await request(held)).state === "approved")
    await fixture.rule("disabled", { ...acts("disabled.happened"), ...own, enabled: false })
    await untilTrue(async () => (await run(id)).state === "cancelled")
    expect((await run(id)).error?.code).toBe("actions.rule-removed")
    expect(await fixture.call(fixture.admin, heldOperationsGet, { request: held })).toMatchObject({
      state: "failed",
      error: { code: "actions.rule-removed" },
    })
    fixture.clock.advance(7_200_000)
    // The queue goes by the database's clock. The other rule's call comes after: it tells when this one would have run.
    for (const requestId of [held, kept.held])
      await addJob(fixture.server.test.database, {
        ...{ task: "approvals.run-held", key: requestId, payload: { account: "main", requestId } },
      })
    await untilTrue(async () => (await run(kept.id)).state === "succeeded")
    expect(await fixture.refusal(fixture.admin, groupsGet, { name: "disabled-1" })).toBe("fleet.group-not-found")
  })
})
