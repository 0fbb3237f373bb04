/** Approvals that steps of running workflows wait for, and whom a template would ask. */
import { stepApprovalsAsk, stepApprovalsCancel } from "@signalbox/contracts/approvals/step-approvals"
import { templatesPreview } from "@signalbox/contracts/approvals/templates"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import { judgeTemplate } from "@signalbox/approvals/judge-template"
import { pinSeats, type Askers } from "@signalbox/approvals/seats"
import type { PinnedTemplate, TemplateRule } from "@signalbox/approvals/template-rules"
import { AppError } from "@signalbox/kernel/app-error"
import { onChange, onRead, type ChangeContext, type Handler, type ReadContext } from "../../router/handler.ts"
import { digestOfContent } from "./content.ts"
import type { ApprovalsContext } from "./options.ts"
import { requesterOfInput } from "./people.ts"
import { changeRequest, createRequest, getLocked, worldOf } from "./request-change.ts"
import { findRequest, type HeldSubject, type RequestRow } from "./request-store.ts"
import { requestUrl, strategyText } from "./request-wire.ts"
import { templateNotFound } from "./template-handlers.ts"

/** Kept with the request, and tells it from those that may be edited. */
const stepSubject: HeldSubject & { readonly step: true } = { step: true }

/** The type that associations and criteria see. */
const stepRequestType = "workflow-step"

export function stepHandlers(context: ApprovalsContext): Handler[] {
  return [
    onChange(stepApprovalsAsk, async (input, ctx) => {
      const row = (await findRequest(ctx.tx, ctx.account, input.request)) ?? (await ask(context, ctx, input))
      return shown(context, row)
    }),
    onChange(stepApprovalsCancel, async ({ request, comment }, ctx) => {
      const row = await getLocked(ctx.tx, ctx.account, request)
      const { principal } = ctx.caller
      const actor = { key: principal, keys: [principal], teams: [] }
      await changeRequest(context, ctx, { row, input: { type: "cancel", actor, asAdministrator: true, comment } })
      return { request }
    }),
    onRead(templatesPreview, (input, ctx) => Promise.resolve(preview(context, input, ctx))),
  ]
}

async function ask(
  context: ApprovalsContext,
  ctx: ChangeContext,
  input: InputOf<typeof stepApprovalsAsk>,
): Promise<RequestRow> {
  const { account, now, cause, depth } = ctx
  const { request: id, title, content, workflow, principal } = input
  const template = getTemplate(context, account, { name: input.template, groups: input.groups })
  const requester = requesterOfInput(context.principals, account, { input: { principal }, now })
  return createRequest(context, ctx, {
    ...{ id, account, type: stepRequestType, title, content, callback: null, notBefore: null, cause, depth },
    unmatched: "refuse",
    // What runs can't be edited, so neither can what is asked about it.
    held: stepSubject,
    input: {
      type: "submit",
      digest: digestOfContent(content),
      ...{ content, requester, submitter: requester, template, unmatched: "refuse" },
      attributes: { type: stepRequestType, workflow },
    },
  })
}

function shown({ publicUrl }: ApprovalsContext, row: RequestRow): OutputOf<typeof stepApprovalsAsk> {
  const { outcome } = row.stateData
  return {
    request: row.id,
    requestUrl: requestUrl(publicUrl, row.id),
    ...(outcome === null ? {} : { ended: { result: outcome.result, reason: outcome.reason } }),
  }
}

/** @throws approvals.template-not-found */
function getTemplate(
  { directory }: ApprovalsContext,
  account: string,
  of: { readonly name: string; readonly groups: Readonly<Record<string, string>> },
): PinnedTemplate {
  const template = directory.findTemplate(account, of)
  if (!template) throw templateNotFound(of.name)
  const levels = new Set(template.rule.levels.map(({ name }) => name))
  const stray = Object.keys(of.groups).find((name) => !levels.has(name))
  if (stray !== undefined)
    throw new AppError("approvals.unreachable", `the template "${of.name}" has no level "${stray}"`)
  return template
}

function preview(
  context: ApprovalsContext,
  input: InputOf<typeof templatesPreview>,
  { account, now }: ReadContext,
): OutputOf<typeof templatesPreview> {
  const { name, version, rule } = getTemplate(context, account, input)
  const { findGroup } = worldOf(context, account, now)
  const missing = groupsOf(rule).find((group) => !findGroup(group))
  if (missing !== undefined)
    throw new AppError(
      "approvals.group-not-found",
      `the template "${name}" would ask the group "${missing}", which there is not`,
    )
  const askers = askersOf(context, input, { account, now })
  const issues = judgeTemplate(rule, findGroup, askers === null ? {} : { askers })
  const errors = issues.filter(({ severity }) => severity === "error")
  if (errors[0]) {
    const who = askers === null ? "" : ` for ${askers.requester.name ?? askers.requester.key}`
    throw new AppError(
      "approvals.unreachable",
      `the template "${name}" can't be satisfied${who}: ${errors[0].message}`,
      {
        issues: errors,
      },
    )
  }
  return {
    ...{ name, version },
    levels: rule.levels.map((level) => ({
      ...{ name: level.name, group: level.group, strategy: strategyText(level.strategy) },
      members: pinSeats({ rule: level, askers, world: { findGroup } }, level.group).map((seat) => ({
        name: seat.name ?? seat.key,
        ...(seat.bar === null ? {} : { barred: seat.bar }),
      })),
    })),
  }
}

function askersOf(
  { principals }: ApprovalsContext,
  { requester: principal }: InputOf<typeof templatesPreview>,
  { account, now }: { readonly account: string; readonly now: number },
): Askers | null {
  if (principal === undefined) return null
  const requester = requesterOfInput(principals, account, { input: { principal }, now })
  return { requester, submitter: requester }
}

function groupsOf({ levels }: TemplateRule): string[] {
  return levels.flatMap(({ group, escalation }) => [
    group,
    ...(escalation?.group === undefined ? [] : [escalation.group]),
  ])
}
