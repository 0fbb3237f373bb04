import { AppError } from "@signalbox/kernel/app-error"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { createInterface } from "node:readline"
import type { Readable } from "node:stream"

/** Where a browser arrives after a login by an identity provider: a port of this machine, for one answer. */
export interface CallbackListener {
  readonly redirectUri: string
  /**
   * The URL that answers the login with this state: as the browser asks for it here, or as somebody pastes it.
   *
   * @throws cli.timeout
   */
  wait(login: { readonly state: string; readonly until: number; readonly pasted: Readable }): Promise<string>
  close(): Promise<void>
}

const path = "/callback"

export async function listenForCallback(port: number): Promise<CallbackListener> {
  const server = createServer()
  await listen(server, port)
  const redirectUri = `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`
  return {
    redirectUri,
    wait: ({ state, until, pasted }) =>
      new Promise((resolve, reject) => {
        const lines = createInterface({ input: pasted })
        const late = new AppError("cli.timeout", "nobody logged in at the identity provider in time; begin again")
        const timer = setTimeout(() => end(() => reject(late)), Math.max(0, until - Date.now()))
        const end = (tell: () => void): void => {
          clearTimeout(timer)
          lines.close()
          tell()
        }
        const take = (text: string): boolean => {
          const url = URL.parse(text.trim(), redirectUri)
          if (url?.pathname !== path || url.searchParams.get("state") !== state) return false
          end(() => resolve(`${redirectUri}${url.search}`))
          return true
        }
        lines.on("line", take)
        server.on("request", (request, response) => {
          const isOurs = request.method === "GET" && take(request.url ?? "")
          response.writeHead(isOurs ? 200 : 404, { "content-type": "text/plain; charset=utf-8", connection: "close" })
          response.end(
            isOurs ? "Go back to the terminal: it has the answer. This window can be closed.\n" : "Not here.\n",
          )
        })
      }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeIdleConnections()
      }),
  }
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) =>
      reject(new AppError("cli.usage", `port ${port} of this machine can't be listened on`, { cause })),
    )
    server.listen(port, "127.0.0.1", resolve)
  })
}

/** @throws cli.usage */
export function readPort(text: string | undefined): number {
  if (text === undefined) return 0
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
  if (port >= 1 && port <= 65_535) return port
  throw new AppError("cli.usage", `--callback-port takes a port, not "${text}"`)
}
