import type { executionsWatch } from "@signalbox/contracts/workflows/operations"
import { executionsWatchRoute } from "@signalbox/contracts/workflows/routes"
import { assert } from "@signalbox/kernel/assert"
import type { Client } from "@signalbox/sdk/client"
import { type Execution, type ExecutionUpdate, isTerminal } from "./rollout-fold.ts"

export interface FollowOptions {
  readonly executionId: string
  /** With a sample of what the nodes write. */
  readonly output?: boolean
  /** With the results of tasks that have ended. */
  readonly outcomes?: boolean
  readonly signal: AbortSignal
  readonly onUpdate: (update: ExecutionUpdate) => void | Promise<void>
  readonly onLost?: (message: string) => void
}

/** Follows a run to its end, over lost connections and restarts of the server; returns its last state. */
export async function followExecution(client: Client, options: FollowOptions): Promise<Execution> {
  const { executionId, signal, onUpdate, onLost } = options
  const input = {
    execution: executionId,
    ...(options.output === true && { output: "true" as const }),
    ...(options.outcomes === true && { outcomes: "true" as const }),
  }
  let last: Execution | undefined
  const messages = client.watch<typeof executionsWatch>(executionsWatchRoute, input, {
    signal,
    isLast: ({ execution }) => isTerminal(execution.state),
    onLost: (error) => onLost?.(error.message),
  })
  for await (const { data } of messages) {
    last = data.execution
    await onUpdate(data)
  }
  assert(last, "a stream that ends has brought a message")
  return last
}
