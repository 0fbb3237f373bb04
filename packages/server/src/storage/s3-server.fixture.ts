import { createHash } from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { buffer } from "node:stream/consumers"
import { signCall, type SigningKey } from "./s3-signature.ts"

/** As much of an S3-compatible store as blobs need, with signatures and digests of bodies checked. */
export interface S3Server {
  readonly url: string
  readonly key: SigningKey
  readonly objects: Map<string, Buffer>
  /** Answers the next calls with 503. */
  fail(calls: number): void
  stop(): Promise<void>
}

const pageKeys = 2

export async function startS3Server(): Promise<S3Server> {
  const key = { accessKey: "test-access", secretKey: "test-secret", region: "test-region" }
  const objects = new Map<string, Buffer>()
  let failing = 0
  const server = createServer((request, response) => {
    void answer(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)))
  })

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(request)
    if (failing > 0) {
      failing--
      response.writeHead(503).end()
      return
    }
    const url = new URL(request.url ?? "/", `http://${request.headers.host ?? ""}`)
    if (!isSigned(request, url, key)) {
      response.writeHead(403).end("<Error><Code>SignatureDoesNotMatch</Code></Error>")
      return
    }
    if (createHash("sha256").update(body).digest("hex") !== request.headers["x-amz-content-sha256"]) {
      response.writeHead(400).end("<Error><Code>XAmzContentSHA256Mismatch</Code></Error>")
      return
    }
    if (url.pathname === "/bucket") return list(url, response, objects)
    const name = decodeURIComponent(url.pathname.replace("/bucket/", ""))
    const found = objects.get(name)
    if (request.method === "PUT") {
      objects.set(name, body)
      response.writeHead(200).end()
    } else if (request.method === "DELETE") {
      objects.delete(name)
      response.writeHead(204).end()
    } else if (!found) {
      response.writeHead(404).end("<Error><Code>NoSuchKey</Code></Error>")
    } else {
      const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "")
      const part = range ? found.subarray(Number(range[1]), range[2] ? Number(range[2]) + 1 : undefined) : found
      response.writeHead(range ? 206 : 200, { "content-length": part.length })
      response.end(request.method === "HEAD" ? undefined : part)
    }
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/bucket/some/pre%20fix`,
    key,
    objects,
    fail: (calls) => (failing = calls),
    stop: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

function isSigned(request: IncomingMessage, url: URL, key: SigningKey): boolean {
  const { authorization = "", "x-amz-date": time, "x-amz-content-sha256": payloadDigest } = request.headers
  const names = /SignedHeaders=([^,]+)/.exec(authorization)?.[1]?.split(";") ?? []
  const own = ["host", "x-amz-date", "x-amz-content-sha256"]
  const headers = names.filter((name) => !own.includes(name)).map((name) => [name, String(request.headers[name])])
  const now = Date.parse(String(time).replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"))
  const expected = signCall(key, {
    method: request.method ?? "",
    url,
    headers: Object.fromEntries(headers) as Record<string, string>,
    payloadDigest: String(payloadDigest),
    now,
  })
  return expected["authorization"] === authorization
}

function list(url: URL, response: ServerResponse, objects: ReadonlyMap<string, Buffer>): void {
  const prefix = url.searchParams.get("prefix") ?? ""
  const after = url.searchParams.get("continuation-token") ?? ""
  const names = [...objects.keys()].filter((name) => name.startsWith(prefix) && name > after).toSorted()
  const page = names.slice(0, pageKeys)
  const items = page.map((name) => `<Contents><Key>${name}</Key><Size>${objects.get(name)?.length}</Size></Contents>`)
  const last = page.at(-1)
  const next =
    names.length > pageKeys && last !== undefined ? `<NextContinuationToken>${last}</NextContinuationToken>` : ""
  response.writeHead(200, { "content-type": "application/xml" })
  response.end(`<?xml version="1.0"?><ListBucketResult>${items.join("")}${next}</ListBucketResult>`)
}
