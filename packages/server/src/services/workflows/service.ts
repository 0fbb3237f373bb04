import { workflowJsonSchema } from "@signalbox/contracts/workflows/document"
import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { Logger } from "pino"
import type { Service } from "../../router/handler.ts"
import type { Executor, OperationCaller } from "../../router/ports.ts"
import type { Database } from "../../storage/database.ts"
import { ExecutionOwner, type OwnerSettings } from "./background.ts"
import { workflowsHandlers } from "./handlers.ts"
import { progressExpander } from "./progress-event.ts"
import { executionsRetention } from "./retention.ts"
import { Watches } from "./watches.ts"

export interface WorkflowsOptions {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly operations: OperationCaller
  readonly executor: Executor
  readonly serverId: string
  readonly settings?: Partial<OwnerSettings>
}

export interface WorkflowsService {
  readonly service: Service
  /** The JSON Schema of workflow documents, for /v1/schemas/workflow.json. */
  readonly jsonSchema: Record<string, unknown>
  /** The executions that this server runs. */
  readonly owner: ExecutionOwner
}

/** Workflow documents and executions: plans, runs at a controlled rate, stops, puts back, keeps the results. */
export function createWorkflowsService(options: WorkflowsOptions): WorkflowsService {
  const watches = new Watches()
  const owner = new ExecutionOwner({
    ...options,
    onCommit: (executionId) => watches.hear(executionId),
    onLive: (executionId, ordinal, report) => watches.hearLive(executionId, ordinal, report),
  })
  const { clock, random, operations } = options
  const handlers = workflowsHandlers({ clock, random, operations, watches, hint: () => owner.hint() })
  return {
    service: {
      name: "workflows",
      handlers,
      cronTasks: [executionsRetention(() => clock.now())],
      expanders: [progressExpander],
      start: () => owner.start(),
      async stop() {
        watches.close()
        await owner.stop()
      },
    },
    jsonSchema: workflowJsonSchema(),
    owner,
  }
}
