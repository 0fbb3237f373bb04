import { workflowsGet, workflowsValidate } from "@signalbox/contracts/workflows/operations"
import { AppError } from "@signalbox/kernel/app-error"
import type { Client } from "@signalbox/sdk/client"
import { findUnless } from "./declared-kind.ts"
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
  if ("declared" in document) {
    const before = (await document.declared.findText(client, document.value)) ?? ""
    const after = document.declared.text(document.value)
    return { before, after, changed: before !== after }
  }
  const checked = await client.call(workflowsValidate, { document: document.text })
  if (!checked.valid) {
    throw new AppError("workflows.invalid-document", `workflow ${name} is not valid`, { issues: checked.issues })
  }
  const stored = await findUnless(client.call(workflowsGet, { name }), "workflows.not-found")
  return { before: stored?.document ?? "", after: document.text, changed: stored?.digest !== checked.digest }
}
