import { type AgentFrame, serverFrame, type ServerFrame } from "@signalbox/contracts/fleet/agent-protocol"

/**
 * How a session ended: to be tried again soon, refused, and then less often, or `leaving`: the server said that it goes
 * away (it restarts, say), which is no failure.
 */
export type Ending = "lost" | "refused" | "leaving"

/**
 * What carries the frames of the agent's session to the server: a WebSocket, or exchanges where WebSockets are cut. A
 * channel serves one session; the session decides what the frames mean.
 */
export interface ServerChannel {
  /** What was sent and is not known to have left. */
  readonly bufferedBytes: number
  /** Called once: sends the hello, and tells the receiver of all that follows. */
  open(hello: AgentFrame, receiver: ServerReceiver): void
  /** False where the frame can't be sent: it has to be sent again in another session. */
  send(frame: AgentFrame): boolean
  /** The session is welcome: from now on the channel shows signs of life, and looks for the server's. */
  keepAlive(heartbeatSeconds: number, load: () => number): void
  /** True once the server has what was sent before this call; false where the channel ended first. */
  flush(): Promise<boolean>
  /** Takes no more frames until `resume`; those that were read already still come. */
  pause(): void
  resume(): void
  /** Says good-bye. */
  close(): void
  /** Ends at once. */
  terminate(): void
}

export interface ServerReceiver {
  frame(frame: ServerFrame): void
  /** A frame that this agent doesn't understand. */
  strange(bytes: number): void
  /** Called once. */
  ended(ending: Ending): void
}

export function parseServerFrame(text: string): ServerFrame | undefined {
  try {
    const result = serverFrame.safeParse(JSON.parse(text))
    return result.success ? result.data : undefined
  } catch {
    return undefined
  }
}
