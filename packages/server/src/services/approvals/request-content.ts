/** What is voted on: its digest and its bound. Pure. */
import { createHash } from "node:crypto"
import { contentDigest } from "@signalbox/approvals/content-digest"
import { approvalLimits } from "@signalbox/contracts/approvals/approval-limits"
import { AppError } from "@signalbox/kernel/app-error"

/** SHA-256, in hexadecimal, of the content's canonical JSON. @throws approvals.content-too-large */
export function digestContent(content: unknown): string {
  return contentDigest(content, (text) => {
    const bytes = Buffer.byteLength(text)
    if (bytes > approvalLimits.contentBytesMax)
      throw new AppError(
        "approvals.content-too-large",
        `what is to be approved has ${bytes} bytes, and ${approvalLimits.contentBytesMax} at most are allowed`,
      )
    return createHash("sha256").update(text).digest("hex")
  })
}
