import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { expect } from "vitest"
import type { ServerFixture } from "../../http/edge.fixture.ts"

/** A service outside, in this process, that tells what it was asked. */
export interface TestUpstream {
  readonly url: string
  readonly port: number
  readonly requests: IncomingMessage[]
  readonly server: Server
  stop(): Promise<void>
}

export async function startUpstream(listener: RequestListener): Promise<TestUpstream> {
  const requests: IncomingMessage[] = []
  const server = createServer((request, response) => {
    requests.push(request)
    listener(request, response)
  })
  const port = await listen(server)
  return {
    url: `http://127.0.0.1:${port}`,
    ...{ port, requests, server },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

export function listen(server: { listen(port: number, host: string, done: () => void): unknown; address(): unknown }) {
  return new Promise<number>((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port))
  })
}

/** The lone operation of every test that needs no other. */
export const documentOfThings = {
  openapi: "3.1.0",
  info: { title: "Things", version: "1.2.3" },
  paths: {
    "/things": {
      get: { operationId: "listThings", summary: "List things", responses: { 200: { description: "ok" } } },
      post: {
        operationId: "makeThing",
        requestBody: { content: { "application/json": { schema: { type: "object" } } } },
        responses: { 201: { description: "made" } },
      },
    },
    "/things/{id}": {
      parameters: [{ name: "id", in: "path", required: true, schema: { type: "string" } }],
      get: { operationId: "getThing", responses: { 200: { description: "ok" } } },
      put: { operationId: "putThing", responses: { 200: { description: "ok" } } },
      delete: { operationId: "removeThing", responses: { 204: { description: "gone" } } },
    },
    "/things/newest": { get: { operationId: "newestThing", responses: { 200: { description: "ok" } } } },
    "/stream": { get: { operationId: "watchThings", responses: { 200: { description: "ok" } } } },
  },
}

/** Registers a service in the account of a key, and fails where it is refused. */
export async function register(
  server: Pick<ServerFixture, "call">,
  key: string,
  service: { readonly name: string; readonly urls: readonly string[] } & Readonly<Record<string, unknown>>,
): Promise<Record<string, unknown>> {
  const { name, urls, ...rest } = service
  const answer = await server.call(key, "PUT", `/v1/services/${name}`, {
    document: documentOfThings,
    upstreams: urls.map((url) => ({ url })),
    ...rest,
  })
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return answer.body
}
