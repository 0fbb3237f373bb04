/** What is approved: any JSON, within bounds, and the digest that votes bind to. */
import { createHash } from "node:crypto"
import { contentDigest } from "@signalbox/approvals/content-digest"
import { approvalLimits } from "@signalbox/contracts/approvals/approval-limits"
import { AppError } from "@signalbox/kernel/app-error"

/** The digest of a content. @throws approvals.content-too-large */
export function digestOfContent(content: unknown): string {
  const text = JSON.stringify(content ?? null)
  const { contentBytesMax } = approvalLimits
  if (Buffer.byteLength(text) > contentBytesMax)
    throw new AppError("approvals.content-too-large", `the content has more than ${contentBytesMax / 1024} KiB`)
  return contentDigest(content, sha256Hex)
}

const sha256Hex = (text: string): string => createHash("sha256").update(text).digest("hex")
