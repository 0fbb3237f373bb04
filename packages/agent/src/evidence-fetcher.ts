import { executionEvidencePath, executionsEvidence } from "@signalbox/contracts/workflows/execution-evidence"
import type { OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import type { AgentRunLimits } from "./agent-limits.ts"
import type { RequestPace } from "./request-pace.ts"
import { callServer, connectionAgent, isRefusal, problemCode, type Reply, serverEndpoint } from "./server-transport.ts"

export interface EvidenceFetcherOptions {
  readonly server: URL
  readonly ca?: string
  readonly limits: AgentRunLimits
  /** A session token, good for one call. */
  readonly token: () => Promise<string>
  /** Shared with the session: the server remembers so many tokens of a node and no more. */
  readonly pace: RequestPace
}

const retryMilliseconds = 1_000
/** A content of 256 KiB, the votes, and what JSON and base64 make of them. */
const replyBytesMax = 8 * 1024 * 1024

/** Asks the server for the approval of a run, over the agent's own trust in it. @throws agent.approval-unavailable */
export async function fetchEvidence(
  options: EvidenceFetcherOptions,
  of: { readonly execution: string; readonly ordinal: number | undefined; readonly stop: AbortSignal },
): Promise<OutputOf<typeof executionsEvidence>> {
  const { evidenceTriesMax } = options.limits
  for (let tries = 1; ; tries++) {
    of.stop.throwIfAborted()
    const reply = await ask(options, of).catch((error: unknown) => error as AppError)
    if (!(reply instanceof Error) && reply.status === 200) return parseEvidence(reply.body)
    const code = reply instanceof Error ? undefined : problemCode(reply.body)
    if (code !== undefined && isRefusal(code)) throw unavailable(`the server answered ${code}: ${detailOf(reply)}`)
    if (tries >= evidenceTriesMax) throw unavailable(`the server did not show it in ${tries} tries`, reply)
    await new Promise((resolve) => setTimeout(resolve, retryMilliseconds * tries))
  }
}

async function ask(
  { server, ca, token, pace }: EvidenceFetcherOptions,
  { execution, ordinal, stop }: Parameters<typeof fetchEvidence>[1],
): Promise<Reply> {
  const [path = "", query = ""] = executionEvidencePath(execution, ordinal).split("?")
  const url = serverEndpoint(server, path)
  url.search = query
  await pace.take(stop)
  return await callServer(url, {
    method: "GET",
    agent: connectionAgent(url, { ...(ca !== undefined && { ca }) }),
    headers: { authorization: `Bearer ${await token()}` },
    replyBytesMax,
    signal: stop,
  })
}

function parseEvidence(body: string): OutputOf<typeof executionsEvidence> {
  try {
    return executionsEvidence.output.parse(JSON.parse(body))
  } catch (cause) {
    throw unavailable("what the server shows is no approval", cause)
  }
}

function detailOf(reply: Reply | Error): string {
  if (reply instanceof Error) return reply.message
  const { detail } = JSON.parse(reply.body) as { detail?: unknown }
  return typeof detail === "string" ? detail.slice(0, 500) : ""
}

function unavailable(why: string, cause?: unknown): AppError {
  return new AppError("agent.approval-unavailable", why, { cause })
}
