import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { heldOperationsEdit, heldOperationsWait } from "@signalbox/contracts/approvals/held-operations"
import { approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import type { OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { request } from "node:https"
import { demoLimits } from "./demo-plan.ts"
import type { ApprovalEvidence } from "./evidence.ts"
import type { RunParts } from "./run-parts.ts"
import { workflowName } from "./web-config-workflow.ts"

/**
 * The people of the demo who have to say yes. They have no account: they read their mail and answer on the page behind
 * its link, as they would on a phone.
 */
const operators = { ada: "ada@example.org", bo: "bo@example.org" } as const
const owner = { cy: "cy@example.org" } as const

type Request = OutputOf<typeof approvalRequestsGet>

/** Every run of the demo's workflow waits for both operators, and then for the owner. */
export async function requireApproval({ client, signal }: Pick<RunParts, "client" | "signal">): Promise<void> {
  await makeApprovers({ client, signal })
  const association = { name: "web-config", template, selector: { workflow: workflowName } }
  const reply = await client.call(associationsApply, association, { signal })
  if (reply.status === "held") throw new AppError("demo.part-failed", "setting up approvals was held for approval")
}

const template = "web-change"

/** Both levels, and the template that asks them one after the other: `web-change`. */
export async function makeApprovers({ client, signal }: Pick<RunParts, "client" | "signal">): Promise<void> {
  const membersOf = (people: Readonly<Record<string, string>>) =>
    Object.entries(people).map(([name, mail]) => ({ name, mail }))
  const calls = [
    () => client.call(approvalGroupsApply, { name: "operators", members: membersOf(operators) }, { signal }),
    () => client.call(approvalGroupsApply, { name: "owners", members: membersOf(owner) }, { signal }),
    () =>
      client.call(
        templatesApply,
        {
          name: template,
          levels: [
            { name: "operators", group: "operators", strategy: { kind: "all" }, expiresAfter: "1h" },
            { name: "owners", group: "owners", strategy: { kind: "any" }, expiresAfter: "1h" },
          ],
        },
        { signal },
      ),
  ]
  for (const call of calls) {
    const reply = await call()
    if (reply.status === "held") throw new AppError("demo.part-failed", "setting up approvals was held for approval")
  }
}

/** What the operator of the demo changes between the levels. */
export interface PlanEdit {
  readonly input: Readonly<Record<string, unknown>>
  readonly text: string
}

/** Has a held run approved, level by level, by links in mails; with an edit in between where there is one. */
export async function approveRun(
  parts: RunParts,
  requestUrl: string,
  edit: PlanEdit | undefined,
): Promise<ApprovalEvidence> {
  const id = requestUrl.slice(requestUrl.lastIndexOf("/") + 1)
  const { screen } = parts
  const asked = await read(parts, id)
  screen.done(`held: ${asked.title}, until operators and owners approve exactly that (${short(asked.digest)})`)
  const opens = await openLinks(parts, id)
  await answerAll(parts, { id, people: operators, revision: 1 })
  const edited = edit === undefined ? undefined : await editPlan(parts, { id, edit, before: asked.digest })
  if (edited) await answerAll(parts, { id, people: operators, revision: 2 })
  const approvedAt = await answerAll(parts, { id, people: owner, revision: edited ? 2 : 1 })
  return { requestId: id, ...opens, ...edited, approvedAt, ...(await waitForRun(parts, id)) }
}

/** What a mail scanner does: opens each link, again and again, and must not have answered. */
async function openLinks(
  parts: RunParts,
  id: string,
): Promise<Pick<ApprovalEvidence, "linksOpened" | "votesByOpening">> {
  let linksOpened = 0
  for (const address of Object.values(operators)) {
    const link = await findLink(parts, { id, address, revision: 1 })
    for (const method of ["HEAD", "GET", "GET"]) {
      await visit(parts, `${link}?choice=approve`, { method })
      linksOpened++
    }
  }
  const { votes } = await read(parts, id)
  return { linksOpened, votesByOpening: votes.length }
}

/** Gives the moment at which the last of them pressed the button, in milliseconds since 1970. */
async function answerAll(
  parts: RunParts,
  of: { readonly id: string; readonly people: Readonly<Record<string, string>>; readonly revision: number },
): Promise<number> {
  const names: string[] = []
  let pressedAt = 0
  for (const [name, address] of Object.entries(of.people)) {
    const link = await findLink(parts, { id: of.id, address, revision: of.revision })
    pressedAt = Date.now()
    const page = await visit(parts, link, { method: "POST", form: { choice: "approve" } })
    if (page.status !== 303) throw new AppError("demo.part-failed", `${name} could not answer: ${page.text}`)
    names.push(name)
  }
  const isApproved = (await read(parts, of.id)).state === "approved"
  const then = isApproved ? "the run is approved" : "their level is met"
  parts.screen.done(`${names.join(" and ")} approve, by the links in their mails: ${then}`)
  return pressedAt
}

async function editPlan(
  parts: RunParts,
  { id, edit, before }: { readonly id: string; readonly edit: PlanEdit; readonly before: string },
): Promise<Pick<ApprovalEvidence, "votesVoided" | "oldLinkStatus">> {
  const { client, signal, screen } = parts
  const oldLink = await findLink(parts, { id, address: owner.cy, revision: 1 })
  const reply = await client.call(
    heldOperationsEdit,
    { request: id, revision: 1, newInput: { ...edit.input } },
    { signal },
  )
  if (reply.status === "held") throw new AppError("demo.part-failed", "the edit was held for approval")
  const { votes, digest } = await read(parts, id)
  const votesVoided = votes.filter(({ standing }) => standing === "outdated").length
  const { status } = await visit(parts, oldLink, { method: "POST", form: { choice: "approve" } })
  screen.done(
    `then the operator changes the plan (${edit.text}): ${short(before)} becomes ${short(digest)}, ` +
      `${votesVoided} of ${votes.length} votes are void, cy's old link is refused`,
  )
  return { votesVoided, oldLinkStatus: status }
}

async function findLink(
  { mailbox, signal }: RunParts,
  { id, address, revision }: { readonly id: string; readonly address: string; readonly revision: number },
): Promise<string> {
  return await mailbox.waitForLink(address, [`show ${id}`, `revision ${revision}`], signal)
}

async function read({ client, signal }: RunParts, id: string): Promise<Request> {
  return await client.call(approvalRequestsGet, { request: id }, { signal })
}

async function waitForRun(
  { client, signal }: RunParts,
  id: string,
): Promise<Pick<ApprovalEvidence, "executionId" | "digest">> {
  const seconds = Math.ceil(demoLimits.mailMilliseconds / 1000)
  const held = await client.call(heldOperationsWait, { request: id, seconds }, { signal })
  const { id: executionId } = (held.result ?? {}) as { id?: string }
  if (held.state !== "done" || executionId === undefined)
    throw new AppError("demo.part-failed", `the approved run did not start: ${held.error?.message ?? held.state}`)
  return { executionId, digest: held.digest }
}

const short = (digest: string): string => digest.slice(0, 8)
const answerBytesMax = 256 * 1024

/** A browser without scripts, which is all that the page needs. */
function visit(
  { caPem, signal }: RunParts,
  link: string,
  { method, form }: { readonly method: string; readonly form?: Readonly<Record<string, string>> },
): Promise<{ status: number; text: string }> {
  const body = form && new URLSearchParams(form).toString()
  return new Promise((resolve, reject) => {
    const call = request(
      link,
      {
        ...{ method, ca: caPem, signal, agent: false },
        headers: body === undefined ? {} : { "content-type": "application/x-www-form-urlencoded" },
        timeout: demoLimits.mailMilliseconds,
      },
      (response) => {
        let text = ""
        response.setEncoding("utf8")
        response.on("data", (chunk: string) => {
          if (text.length < answerBytesMax) text += chunk
        })
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text }))
        response.on("error", reject)
      },
    )
    call.on("error", reject)
    call.end(body)
  })
}
