import { workflowJsonSchema } from "@signalbox/contracts/workflows/document"
import type { Clock } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"
import type { Logger } from "pino"
import type { Service } from "../../router/handler.ts"
import type { Egress } from "../../egress/egress.ts"
import type {
  ArtifactFinder,
  Executor,
  NodeProbes,
  OperationCaller,
  PrincipalDirectory,
  SecretReader,
  StandingCaller,
  WindowState,
} from "../../router/ports.ts"
import type { Blobs } from "../../storage/blobs.ts"
import type { Database } from "../../storage/database.ts"
import type { Notifier } from "../../storage/notifier.ts"
import { ApprovalSteps } from "./approval-steps.ts"
import { ExecutionOwner, type OwnerSettings } from "./background.ts"
import { workflowsHandlers } from "./handlers.ts"
import { askHealth } from "./health-probe.ts"
import { LiveRelay } from "./live-relay.ts"
import { progressExpander } from "./progress-event.ts"
import { executionsRetention } from "./retention.ts"
import { ReportInbox } from "./report-inbox.ts"
import { inboxRetention } from "./report-inbox-store.ts"
import { ServerSteps } from "./server-steps.ts"
import { ServerTasks } from "./server-tasks.ts"
import { Watches } from "./watches.ts"

export { findWorkflowNames } from "./store.ts"

export interface WorkflowsOptions {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly operations: OperationCaller
  readonly executor: Executor
  readonly windows: WindowState
  /** For health checks, and for steps that are the server's. */
  readonly egress: Egress
  readonly probes: NodeProbes
  readonly standing: StandingCaller
  readonly principals: PrincipalDirectory
  readonly secrets: SecretReader
  readonly blobs: Blobs
  readonly artifacts: ArtifactFinder
  readonly serverId: string
  /** This process of the server, as its lease names it; left out, one that nobody knows. */
  readonly processId?: string
  /** How reports come to the server that owns their execution; left out where no other server can. */
  readonly notifier?: Pick<Notifier, "notify" | "subscribe">
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
  const watches: Watches = new Watches((executionId) => live?.follow(executionId))
  const { clock, random, operations, windows, egress, probes, database } = options
  const approvals = new ApprovalSteps({ ...options, sql: database })
  const performer = options.processId ?? newId("server", clock, random)
  const steps = new ServerSteps({ ...options, sql: database, approvals, performer })
  const serverTasks = new ServerTasks({ ...options, sql: database, steps })
  const live =
    options.notifier &&
    new LiveRelay({
      ...{ notifier: options.notifier, clock, random },
      followed: () => watches.followed(),
      onReport: (report) => owner.hearLive(report),
      onLive: (executionId, ordinal, report) => watches.hearLive(executionId, ordinal, report),
    })
  const owner: ExecutionOwner = new ExecutionOwner({
    ...options,
    ...openInbox(options),
    ...(live && { live }),
    steps,
    executor: serverTasks.beside(options.executor),
    askHealth: (check, { id: execution, account, cause, depth }, signal) =>
      askHealth({ egress, probes, operations }, check, { execution, account, cause, depth, signal }),
    onCommit: (executionId) => watches.hear(executionId),
    onEnd: (executionId) => watches.hearEnd(executionId),
    onLive: (executionId, ordinal, report) => {
      watches.hearLive(executionId, ordinal, report)
      live?.tell(executionId, ordinal, report)
    },
  })
  approvals.listen((nodeId, answer) => options.executor.answer(nodeId, answer))
  const { secrets, artifacts } = options
  const parts = { secrets, artifacts }
  const handlers = workflowsHandlers({
    ...parts,
    blobs: options.blobs,
    clock,
    random,
    operations,
    watches,
    windows,
    hint: () => owner.hint(),
  })
  return {
    service: {
      name: "workflows",
      handlers,
      consumers: [approvals.consumer()],
      cronTasks: [executionsRetention(() => clock.now(), options.blobs), inboxRetention],
      expanders: [progressExpander],
      async start() {
        approvals.start()
        live?.start()
        await owner.start()
      },
      async stop() {
        watches.close()
        live?.stop()
        await approvals.stop()
        await serverTasks.stop()
        await owner.stop()
      },
    },
    jsonSchema: workflowJsonSchema(),
    owner,
  }
}

/** How reports come from servers that have nodes to the one that owns their execution. */
function openInbox({ database, notifier, logger }: WorkflowsOptions): { readonly inbox?: ReportInbox } {
  if (!notifier) return {}
  const onError = (error: unknown): void =>
    logger.warn({ err: error }, "carrying reports between servers failed; it is tried again")
  return { inbox: new ReportInbox({ sql: database, notifier, onError }) }
}
