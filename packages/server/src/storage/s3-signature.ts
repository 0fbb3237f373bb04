import { createHash, createHmac } from "node:crypto"

/** Signs requests as S3 and what is compatible with it ask for (AWS Signature Version 4, headers, one chunk). */
export interface SigningKey {
  readonly accessKey: string
  readonly secretKey: string
  readonly region: string
}

export interface SignedCall {
  readonly method: string
  readonly url: URL
  /** All headers to be signed but `host`, `x-amz-date` and `x-amz-content-sha256`; names in lower case. */
  readonly headers?: Readonly<Record<string, string>>
  /** SHA-256 of the body. */
  readonly payloadDigest: string
  readonly now: number
}

export const emptyDigest = createHash("sha256").digest("hex")

/** The headers to send, with the signature among them. */
export function signCall(key: SigningKey, call: SignedCall): Record<string, string> {
  const time = new Date(call.now).toISOString().replaceAll(/[-:]|\.\d{3}/g, "")
  const day = time.slice(0, 8)
  const headers: Record<string, string> = {
    ...call.headers,
    host: call.url.host,
    "x-amz-content-sha256": call.payloadDigest,
    "x-amz-date": time,
  }
  const names = Object.keys(headers).toSorted()
  const canonical = [
    call.method,
    call.url.pathname
      .split("/")
      .map((part) => encode(decodeURIComponent(part)))
      .join("/"),
    [...call.url.searchParams]
      .map(([name, value]) => `${encode(name)}=${encode(value)}`)
      .toSorted()
      .join("&"),
    ...names.map((name) => `${name}:${(headers[name] ?? "").trim()}`),
    "",
    names.join(";"),
    call.payloadDigest,
  ].join("\n")
  const scope = `${day}/${key.region}/s3/aws4_request`
  const text = ["AWS4-HMAC-SHA256", time, scope, createHash("sha256").update(canonical).digest("hex")].join("\n")
  const signing = [day, key.region, "s3", "aws4_request"].reduce<Buffer | string>(hmac, `AWS4${key.secretKey}`)
  const signature = hmac(signing, text).toString("hex")
  return {
    ...headers,
    authorization: `AWS4-HMAC-SHA256 Credential=${key.accessKey}/${scope},SignedHeaders=${names.join(";")},Signature=${signature}`,
  }
}

function hmac(key: Buffer | string, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest()
}

/** RFC 3986: everything but unreserved characters. */
function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (found) => `%${found.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}
