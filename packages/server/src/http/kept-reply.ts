import type { ServerResponse } from "node:http"
import type { ExternalReply } from "../router/external-ports.ts"
import { jsonType } from "../router/external-request.ts"
import { mayBePage } from "./pass-headers.ts"

/** Writes a reply that was read as a value, as the service would have given it. */
export function writeReply(response: ServerResponse, reply: ExternalReply): void {
  const { status, headers, bodyOmitted } = reply
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
  if (mayBePage(headers["content-type"])) {
    response.setHeader("content-security-policy", "sandbox")
    response.setHeader("x-content-type-options", "nosniff")
  }
  if (bodyOmitted !== undefined) response.setHeader("signalbox-body-omitted", bodyOmitted)
  response.writeHead(status)
  response.end(bytesOf(reply))
}

function bytesOf({ headers, body, bodyBase64 }: ExternalReply): Buffer {
  if (bodyBase64 !== undefined) return Buffer.from(bodyBase64, "base64")
  if (body === undefined) return Buffer.alloc(0)
  if (typeof body === "string" && !jsonType.test(headers["content-type"] ?? "")) return Buffer.from(body)
  return Buffer.from(JSON.stringify(body))
}
