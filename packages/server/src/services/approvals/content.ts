/** What is approved: any JSON, within bounds, and the digest that votes bind to. */
import { createHash } from "node:crypto"
import { contentDigest } from "@signalbox/approvals/content-digest"
import { approvalLimits } from "@signalbox/contracts/approvals/approval-limits"
import { AppError } from "@signalbox/kernel/app-error"

const depthMax = 64

/** The digest of a content. @throws approvals.invalid-content, approvals.content-too-large */
export function digestOfContent(content: unknown): string {
  refuseUnfit(content)
  const text = JSON.stringify(content ?? null)
  const { contentBytesMax } = approvalLimits
  if (Buffer.byteLength(text) > contentBytesMax)
    throw new AppError("approvals.content-too-large", `the content has more than ${contentBytesMax / 1024} KiB`)
  return contentDigest(content, sha256Hex)
}

const sha256Hex = (text: string): string => createHash("sha256").update(text).digest("hex")

/** Without recursion: whoever sends it chooses its depth. */
function refuseUnfit(content: unknown): void {
  let layer: unknown[] = [content]
  for (let depth = 0; layer.length > 0; depth++) {
    if (depth > depthMax)
      throw new AppError("approvals.invalid-content", `the content is nested more than ${depthMax} deep`)
    const next: unknown[] = []
    for (const value of layer) {
      if (typeof value === "number" && !Number.isFinite(value))
        throw new AppError("approvals.invalid-content", "the content has a number that is too large for anybody")
      if (typeof value === "object" && value !== null) for (const member of Object.values(value)) next.push(member)
    }
    layer = next
  }
}
