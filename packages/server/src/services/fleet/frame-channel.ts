/**
 * What carries the frames of one agent's session, as the session sees it: a WebSocket, or a row of exchanges. A channel
 * knows no frame's meaning; the session knows no transport.
 */
export interface FrameChannel {
  /** What was sent and may not have reached the agent. */
  readonly unsentBytes: number
  /** Called once, before anything else. */
  listen(receiver: FrameReceiver): void
  /** What is sent in one turn of the event loop may leave as one piece at its end. */
  send(text: string): void
  /** Asks for a sign of life, where the transport can. */
  ping(): void
  /** Takes no more frames until `resume`; those that were read already may still come. */
  pause(): void
  resume(): void
  /** Ends after what was sent; `code` as of a WebSocket (RFC 6455, 7.4.1). */
  close(code: number, reason: string): void
  /** Ends at once. */
  terminate(): void
}

export interface FrameReceiver {
  frame(data: Buffer, isBinary: boolean): void
  /** A sign of life that is no frame. */
  alive(): void
  /** The other side, or the network, ended the channel. */
  closed(reason: string): void
}
