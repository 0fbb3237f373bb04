import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { WebSocket, WebSocketServer } from "ws"

/** What an agent and its server say to each other, in order. */
export interface Recording {
  readonly fromAgent: unknown[]
  readonly fromServer: unknown[]
}

export interface RecordingRelay extends Recording {
  /** Where the agent has to dial: plain HTTP on loopback. */
  readonly url: string
  stop(): Promise<void>
}

/** Stands between an agent and a server, passes everything on, and keeps a copy. */
export async function startRecordingRelay(server: { url: string; caPem?: string }): Promise<RecordingRelay> {
  const recording: Recording = { fromAgent: [], fromServer: [] }
  const http = createServer((_request, response) => response.writeHead(502).end())
  const accepting = new WebSocketServer({ noServer: true, perMessageDeflate: false })
  const open = new Set<WebSocket>()
  http.on("upgrade", (request, socket, head) => {
    const target = `${server.url.replace("http", "ws")}${request.url ?? ""}`
    const { authorization } = request.headers
    const onward = new WebSocket(target, {
      perMessageDeflate: false,
      ...(server.caPem === undefined ? {} : { ca: server.caPem }),
      ...(authorization === undefined ? {} : { headers: { authorization } }),
    })
    onward.on("error", () => socket.destroy())
    onward.once("open", () => {
      accepting.handleUpgrade(request, socket, head, (agent) => {
        join(agent, onward, recording.fromAgent)
        join(onward, agent, recording.fromServer)
        for (const one of [agent, onward]) {
          open.add(one)
          one.once("close", () => open.delete(one))
        }
      })
    })
  })
  http.listen(0, "127.0.0.1")
  await once(http, "listening")
  return {
    ...recording,
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    async stop() {
      for (const socket of open) socket.terminate()
      http.close()
      await once(http, "close")
    },
  }
}

function join(from: WebSocket, to: WebSocket, kept: unknown[]): void {
  from.on("message", (data: Buffer) => {
    const text = data.toString("utf8")
    kept.push(JSON.parse(text))
    to.send(text)
  })
  from.once("close", () => to.terminate())
  from.on("error", () => to.terminate())
}
