/** How a health check is asked: over HTTP through the guarded way out, or as a command on a node. */
import type { KeptOutput } from "@signalbox/contracts/fleet/agent-protocol"
import { nodesGet } from "@signalbox/contracts/fleet/operations"
import type { HealthCheck } from "@signalbox/contracts/workflows/strategy"
import { assert } from "@signalbox/kernel/assert"
import { getDuration } from "@signalbox/kernel/duration"
import type { NodeProbes, OperationCaller } from "../../router/ports.ts"
import type { Egress } from "../../egress/egress.ts"
import type { HealthResult } from "./health-watch.ts"

export interface HealthProbeParts {
  readonly egress: Pick<Egress, "request">
  readonly probes: NodeProbes
  readonly operations: OperationCaller
}

export interface HealthCall {
  readonly account: string
  readonly execution: string
  readonly cause: string
  readonly depth: number
  readonly signal: AbortSignal
}

/** What is read of an answer: its status counts, its body doesn't. */
const responseBytesMax = 1024 * 1024
/** What is quoted of a command's output. */
const saidLengthMax = 500

export async function askHealth(parts: HealthProbeParts, check: HealthCheck, call: HealthCall): Promise<HealthResult> {
  const timeoutMilliseconds = Math.max(1, getDuration(check.timeout))
  if (check.http) return askHttp(parts, check.http, { ...call, timeoutMilliseconds })
  assert(check.run !== undefined && check.on !== undefined, "a health check has http, or run and on")
  const { account, cause, depth } = call
  const as = { account, cause, depth: depth + 1, service: "workflows", roles: ["viewer"] } as const
  const node = await parts.operations.call(nodesGet, { node: check.on }, as)
  const command = { shell: check.run }
  const result = await parts.probes.probe(node.id, { command, timeoutMilliseconds, execution: call.execution })
  const ok = result.state === "succeeded"
  const said = (result.message ?? endOf(result.stderr) ?? endOf(result.stdout) ?? "").trim()
  const ended = result.exitCode === undefined ? result.state : `exit code ${result.exitCode}`
  return { ok, message: `${check.on}: ${ended}${ok || said === "" ? "" : `: ${said}`}` }
}

/** The end of an output; its tail is empty where nothing was cut. */
function endOf(output: KeptOutput | undefined): string | undefined {
  const text = output && `${output.head}${output.truncated ? "\n" : ""}${output.tail}`.trim()
  return text ? text.slice(-saidLengthMax) : undefined
}

async function askHttp(
  { egress }: HealthProbeParts,
  http: NonNullable<HealthCheck["http"]>,
  call: HealthCall & { readonly timeoutMilliseconds: number },
): Promise<HealthResult> {
  const { method, url, headers, body, status: expected } = http
  const { timeoutMilliseconds, signal } = call
  const { status } = await egress.request({
    method,
    url,
    headers,
    ...(body === undefined ? {} : { body }),
    timeoutMilliseconds,
    responseBytesMax,
    signal,
  })
  const ok = expected ? expected.includes(status) : status >= 200 && status < 300
  return { ok, message: `${method} ${new URL(url).host}: status ${status}` }
}
