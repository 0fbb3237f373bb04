import {
  workflowsApply,
  workflowsGet,
  workflowsList,
  workflowsValidate,
} from "@signalbox/contracts/workflows/operations"
import { AppError } from "@signalbox/kernel/app-error"
import type { InputOf } from "@signalbox/contracts/operation"
import { onChange, onRead, type ChangeContext, type Handler, type ReadContext } from "../../router/handler.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import { controlHandlers } from "./control-handlers.ts"
import { createHandlers } from "./create-handler.ts"
import { evidenceHandlers } from "./evidence-handlers.ts"
import { executionHandlers } from "./execution-handlers.ts"
import { followHandlers } from "./follow-handlers.ts"
import { planApprovals } from "./planned-approvals.ts"
import { toWorkflow, toWorkflowSummary } from "./presentation.ts"
import type { WorkflowsContext } from "./handler-context.ts"
import { findWorkflow, getStoredWorkflow, insertWorkflowVersion, listWorkflows, lockWorkflow } from "./store.ts"
import { checkStrategy } from "./strategy-model.ts"
import { getWorkflow, parseWorkflow } from "./workflow-text.ts"

export function workflowsHandlers(context: WorkflowsContext): Handler[] {
  return [
    ...documentHandlers(context),
    ...createHandlers(context),
    ...followHandlers(context),
    ...controlHandlers(context),
    ...executionHandlers(context),
    ...evidenceHandlers(context),
  ]
}

function documentHandlers(context: WorkflowsContext): Handler[] {
  return [applyHandler(context), validateHandler(), ...readHandlers()]
}

function applyHandler({ operations }: WorkflowsContext): Handler {
  const prepare = async (input: InputOf<typeof workflowsApply>, ctx: ReadContext): Promise<void> => {
    const { account, cause, requestId: causedBy, depth } = ctx
    const call = { account, cause, causedBy, depth: depth + 1 }
    await planApprovals(operations, getWorkflow(input.document).document, { call })
  }
  return onChange(workflowsApply, applyWorkflow, { prepare })
}

async function applyWorkflow(input: InputOf<typeof workflowsApply>, ctx: ChangeContext) {
  const { name } = input
  const { document, canonical, digest } = getWorkflow(input.document)
  if (document.name !== name)
    throw new AppError("workflows.invalid-document", `the document is named "${document.name}", not "${name}"`, {
      issues: [{ path: "name", message: `is not "${name}"` }],
    })
  checkStrategy(document)
  const version = await lockWorkflow(ctx.tx, ctx.account, name)
  if (input.expectedVersion !== undefined && input.expectedVersion !== version)
    throw new AppError(
      "workflows.version-conflict",
      version === 0
        ? `there is no workflow "${name}", and version ${input.expectedVersion} was expected`
        : `workflow "${name}" is at version ${version}, not ${input.expectedVersion}`,
      { details: { version } },
    )
  const newest = version === 0 ? undefined : await findWorkflow(ctx.tx, { account: ctx.account, name })
  if (newest?.digest === digest) return { ...toWorkflow(newest), changed: false }
  const row = await insertWorkflowVersion(ctx.tx, {
    account: ctx.account,
    name,
    version: version + 1,
    description: document.description,
    document: input.document,
    canonical,
    digest,
    createdBy: ctx.caller.principal,
  })
  ctx.emit({
    aggregate: `workflow/${ctx.account}/${name}`,
    type: "workflow.applied",
    subject: `workflow/${name}`,
    version: row.version,
    data: { name, version: row.version, digest },
  })
  return { ...toWorkflow(row), changed: true }
}

function validateHandler(): Handler {
  return onRead(workflowsValidate, async (input) => {
    const result = parseWorkflow(input.document)
    if (!result.ok) return { valid: false, issues: [...result.issues] }
    const { document, digest } = result.workflow
    return { valid: true, name: document.name, digest, issues: [] }
  })
}

function readHandlers(): Handler[] {
  return [
    onRead(workflowsList, async (input, ctx) => {
      const after = input.cursor === undefined ? "" : String(decodeCursor(input.cursor, 1)[0])
      const rows = await listWorkflows(ctx.sql, { account: ctx.account, after, limit: input.limit + 1 })
      const items = rows.slice(0, input.limit).map(toWorkflowSummary)
      const last = items.at(-1)
      return { items, ...(rows.length > input.limit && last ? { nextCursor: encodeCursor([last.name]) } : {}) }
    }),
    onRead(workflowsGet, async (input, ctx) => {
      return toWorkflow(
        await getStoredWorkflow(ctx.sql, { account: ctx.account, name: input.name, version: input.version }),
      )
    }),
  ]
}
