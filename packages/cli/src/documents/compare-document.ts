import { groupsGet } from "@signalbox/contracts/fleet/operations"
import { workflowsGet, workflowsValidate } from "@signalbox/contracts/workflows/operations"
import { AppError, hasCode } from "@signalbox/kernel/app-error"
import type { Client } from "@signalbox/sdk/client"
import { groupText } from "./group-text.ts"
import type { ApplyDocument } from "./read-documents.ts"

export interface Comparison {
  /** What is stored; empty where nothing is. */
  readonly before: string
  readonly after: string
  /** A workflow whose comments alone differ is not changed: its digest stays. */
  readonly changed: boolean
}

/** What applying a document would change. @throws workflows.invalid-document */
export async function compareDocument(client: Client, document: ApplyDocument): Promise<Comparison> {
  const { name } = document
  if (document.kind === "NodeGroup") {
    const stored = await findUnless(client.call(groupsGet, { name }), "fleet.group-not-found")
    const before = stored === undefined ? "" : groupText(stored)
    const after = groupText(document.group)
    return { before, after, changed: before !== after }
  }
  const checked = await client.call(workflowsValidate, { document: document.text })
  if (!checked.valid) {
    throw new AppError("workflows.invalid-document", `workflow ${name} is not valid`, { issues: checked.issues })
  }
  const stored = await findUnless(client.call(workflowsGet, { name }), "workflows.not-found")
  return { before: stored?.document ?? "", after: document.text, changed: stored?.digest !== checked.digest }
}

async function findUnless<T>(
  call: Promise<T>,
  code: "fleet.group-not-found" | "workflows.not-found",
): Promise<T | undefined> {
  try {
    return await call
  } catch (error) {
    if (hasCode(error, code)) return undefined
    throw error
  }
}
