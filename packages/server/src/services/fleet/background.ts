/**
 * The fleet's timers. Owns the ticks, nothing else: every part is told when to flush, to expire, to look for silence.
 * A tick that fails is logged and comes again.
 */
import { agentLimits } from "@signalbox/contracts/fleet/agent-protocol"
import { acknowledgementLimits } from "./acknowledgements.ts"
import { liveLimits } from "./live-reports.ts"
import type { FleetParts } from "./parts.ts"
import type { Presence, SessionFault } from "./presence.ts"
import type { AgentSession } from "./session.ts"
import type { SessionExecutor } from "./session-executor.ts"
import type { SessionRegistry } from "./session-registry.ts"

/** A tick that comes so late means that this process stood still; silence in that time was not the agents'. */
const lateTickMilliseconds = 5_000

/** An agent that beats is never asked: of ten thousand, a ping each ten seconds would cost as much as their beats. */
const quietMilliseconds = agentLimits.heartbeatSeconds * 1.5 * 1000

export interface FleetBackground {
  start(): void
  stop(): Promise<void>
}

export function createFleetBackground(
  parts: FleetParts,
  of: {
    readonly sessions: SessionRegistry
    readonly presence: Presence
    readonly executor: SessionExecutor
    readonly tickMilliseconds: number
  },
): FleetBackground {
  const { sessions, presence, executor } = of
  const timers: NodeJS.Timeout[] = []
  let tickedAt = parts.clock.now()
  let running: Promise<void> | undefined

  async function tick(): Promise<void> {
    const now = parts.clock.now()
    const late = Math.abs(now - tickedAt) > lateTickMilliseconds
    tickedAt = now
    for (const session of [...sessions.openSessions]) {
      if (late) {
        session.forgiveSilence()
        // The others may have taken this server for gone.
        session.seenWrittenAt = 0
      }
      if (now - session.heardAt > agentLimits.sessionSilenceSeconds * 1000) session.close("silent for too long")
      else session.pingIfQuiet(quietMilliseconds)
    }
    executor.expire()
    await presence.flush()
    for (const { session, why } of await presence.touch(sessions.openSessions)) end(session, why)
    await presence.expire()
  }

  function end({ identity: { nodeId, id } }: AgentSession, why: SessionFault): void {
    if (why === "replaced") sessions.replaced(nodeId, id)
    else sessions.closeNode(nodeId, why === "held" ? "fleet.node-held" : "fleet.agent-identity-refused")
  }

  function tickOnce(): void {
    running ??= tick()
      .catch((error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error)
        parts.logger.warn({ reason }, "the fleet's presence could not be written; it is tried again")
      })
      .finally(() => (running = undefined))
  }

  return {
    start() {
      tickedAt = parts.clock.now()
      timers.push(setInterval(tickOnce, of.tickMilliseconds))
      timers.push(setInterval(() => executor.flushLive(), liveLimits.flushMilliseconds))
      timers.push(setInterval(() => executor.flushAcknowledgements(), acknowledgementLimits.flushMilliseconds))
    },
    async stop() {
      for (const timer of timers.splice(0)) clearInterval(timer)
      executor.stop()
      await running
    },
  }
}
