import type { Execution, ExecutionUpdate } from "./rollout-fold.ts"
import type { TaskUpdate } from "./node-mark.ts"

const id = "exe_01jd3v0n9wfx2s8q4r6t8v0xya"
export const startedAt = Date.parse("2026-01-02T03:04:05.000Z")

export function testExecution(
  change: Partial<Omit<Execution, "counts">> = {},
  counts: Partial<Execution["counts"]> = {},
): Execution {
  return {
    id,
    kind: "run",
    state: "running",
    workflow: { name: "deploy", version: 3 },
    parameters: {},
    targets: { text: "role=web", count: 12 },
    concurrency: "4",
    width: 4,
    errorLimit: "2",
    errorsMax: 2,
    inFlight: 0,
    results: { ok: 0, failed: 0, rolledBack: 0, rollbackFailed: 0, notReversible: 0, unknown: 0, untouched: 0 },
    strategy: { ramp: false, wavesCount: 1, strict: false, countUnreachable: false, rollback: "never" },
    cause: "req_1",
    createdAt: "2026-01-02T03:04:05.000Z",
    createdBy: "key:key_1",
    startedAt: "2026-01-02T03:04:05.000Z",
    ...change,
    counts: {
      ...{ queued: 0, starting: 0, running: 0, succeeded: 0, failed: 0, aborted: 0, interrupted: 0, unreachable: 0 },
      ...{ skipped: 0, neverStarted: 0, rollbackPending: 0, rollbackRunning: 0, rolledBack: 0, rollbackFailed: 0 },
      ...{ notReversible: 0, rollbackUnknown: 0 },
      ...counts,
    },
  }
}

export function testTask(ordinal: number, change: Partial<TaskUpdate> = {}): TaskUpdate {
  return {
    id: `tsk_${id.slice(4)}_${ordinal}`,
    execution: id,
    ordinal,
    node: `nod_${ordinal}`,
    nodeName: `web-${ordinal}`,
    state: "succeeded",
    rollback: "none",
    attempt: 1,
    ...change,
  }
}

export function testUpdate(
  execution: Execution,
  tasks: TaskUpdate[] = [],
  output: ExecutionUpdate["output"] = [],
): ExecutionUpdate {
  return { execution, tasks, output }
}
