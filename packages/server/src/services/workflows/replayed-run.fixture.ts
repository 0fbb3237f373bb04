/**
 * A simulated run repeated against PostgreSQL: the rows are written by the statements of the real owner, under real leases, and
 * compared with the simulator's after every commit. One run at a time in a database, since each claims what is there.
 */
import { expect } from "vitest"
import { isExecutionEnded } from "@signalbox/engine/execution-machine"
import type { EnginePlan } from "@signalbox/engine/plan"
import { noClasses } from "@signalbox/engine/run-counts"
import { newState } from "@signalbox/engine/scheduler"
import { SimStore } from "@signalbox/engine/simulator/sim-store"
import type { StoreCall, StoreWrite } from "@signalbox/engine/simulator/store-call"
import type { ExecutionRows } from "@signalbox/engine/types"
import type { Database, Lane } from "../../storage/database.ts"
import { makeBatch } from "./batch.ts"
import { commitBatch, readOpenRows, writeBatch, type Batch } from "./batch-store.ts"
import type { ClaimedExecution, CommitFence } from "./claimed-execution.ts"
import { listTasks, updateWish } from "./execution-store.ts"
import { claimExecutions } from "./lease-store.ts"
import { insertExecution } from "./new-execution-store.ts"
import { NodeWindow } from "./node-window.ts"

export interface ReplayedPlan {
  readonly plan: EnginePlan
  readonly id: string
  /** So many commits are on their way at once. */
  readonly depth: number
}

const account = "main"
const diedMidway = new Error("the server dies before the transaction commits")

export class ReplayedRun {
  readonly #database: Database
  readonly #plan: EnginePlan
  readonly #id: string
  readonly #expected: SimStore
  #owners = 0
  #events = 0
  #claimed: ClaimedExecution | undefined
  #window: NodeWindow | undefined
  /** Sent by an owner that died, and not yet arrived: they come when another has taken over. */
  #late: Array<{ readonly fence: CommitFence; readonly batch: Batch }> = []
  /** Sent, and not waited for yet. */
  #sent: Array<Promise<unknown>> = []
  readonly #lane: Lane
  /** So many commits are sent before the first of them is waited for. */
  readonly #depth: number
  commits = 0
  refused = 0
  takeovers = 0

  private constructor(database: Database, run: ReplayedPlan, lane: Lane) {
    this.#database = database
    this.#lane = lane
    this.#depth = run.depth
    this.#plan = run.plan
    this.#id = run.id
    this.#expected = new SimStore(run.plan)
  }

  static async create(database: Database, run: ReplayedPlan): Promise<ReplayedRun> {
    const lane = await database.openLane()
    if (!lane) throw new Error("a connection is free for a lane")
    const replayed = new ReplayedRun(database, run, lane)
    await replayed.#insert()
    await replayed.#claim()
    return replayed
  }

  async take(call: StoreCall): Promise<void> {
    if (call.kind === "commit") return this.#commit(call)
    await this.#settle()
    if (call.kind === "lost") await this.#lose(call)
    else await this.#recover(call.rows)
  }

  /** No lease is left, and nobody can take the run up again. */
  async end(): Promise<void> {
    await this.#settle()
    await this.#lane.close()
    await this.#beOver()
  }

  async #beOver(): Promise<void> {
    expect(await this.#claimAll()).toEqual([])
  }

  async #insert(): Promise<void> {
    const { targetsCount, width, errorsMax, domains } = this.#plan
    const { counts, rollbacks } = newState(this.#plan, 0)
    const names = { workflowName: "simulated", workflowVersion: undefined, createdBy: "user:simulator" }
    const limits = { targetsCount, targetsMax: targetsCount, width, errorsMax, concurrency: "1", errorLimit: "0" }
    const none = { expectedDigest: undefined, retryOf: undefined, rollbackOf: undefined, note: undefined }
    const cause = { cause: "test", causedBy: "test", depth: 0 }
    const plan = {
      canonical: "{}",
      parameters: {},
      parts: { secrets: {}, artifacts: {} },
      targets: {},
      targetsText: "all",
    }
    await this.#database.transaction(async (tx) => {
      const strategy = {} as Parameters<typeof insertExecution>[1]["strategy"]
      const row = { id: this.#id, account, counts, rollbacks, strategy }
      await insertExecution(tx, { ...row, ...names, ...limits, ...none, ...cause, ...plan })
      await tx.query(
        `insert into execution_targets (execution_id, ordinal, account, node_id, node_name, domain)
         select $1, n, $2, 'nod_' || n, 'n' || n, ($4::int[])[n + 1] from generate_series(0, $3::int - 1) n`,
        [this.#id, account, targetsCount, domains ? [...domains] : null],
      )
    })
  }

  /** Leases last no time here, so whoever asks gets what has not ended. */
  #claimAll(): Promise<ClaimedExecution[]> {
    const owner = `server-${++this.#owners}`
    return claimExecutions(this.#database, { owner, leaseMilliseconds: 0, limit: 10, except: [] })
  }

  async #claim(): Promise<ClaimedExecution> {
    const [claimed, ...others] = await this.#claimAll()
    if (claimed?.id !== this.#id || others.length > 0) throw new Error(`${this.#id} can't be claimed alone`)
    this.#claimed = claimed
    const { targetsCount, width } = this.#plan
    this.#window = new NodeWindow({ sql: this.#database, claimed, targetsCount, width }, claimed.nextOrdinal)
    return claimed
  }

  async #commit(write: StoreWrite): Promise<void> {
    const { claimed, batch } = await this.#batchOf(write)
    const over = isExecutionEnded(this.#expected.execution)
    this.#expected.commit(write.result)
    this.commits += 1
    // A simulated server takes up a run that has ended, too; no real one does, and none could write.
    if (over && batch) {
      await this.#settle()
      return expect(await writeBatch(this.#lane, claimed, batch)).toBeUndefined()
    }
    if (batch) {
      this.#sent.push(writeBatch(this.#lane, claimed, batch))
      this.#claimed = { ...claimed, batches: claimed.batches + 1 }
    }
    for (const { ordinal } of write.result.taskChanges) {
      if (!write.result.state.slots.get(ordinal)) this.#window?.drop(ordinal)
    }
    if (this.#sent.length >= this.#depth) await this.#settle()
  }

  /** Waits for what was sent; then the rows are the simulator's. */
  async #settle(): Promise<void> {
    for (const wished of await Promise.all(this.#sent.splice(0))) expect(wished).toBeDefined()
    await this.#compareTasks()
  }

  /**
   * Once the transaction is undone by the death of its server, once it is on its way while another takes over; and what
   * was sent behind it writes nothing.
   */
  async #lose(write: StoreWrite): Promise<void> {
    const { claimed, batch } = await this.#batchOf(write)
    if (!batch) return
    const dying = { ...batch, accompany: () => Promise.reject(diedMidway) }
    await expect(commitBatch(this.#database, claimed, dying)).rejects.toBe(diedMidway)
    expect(await writeBatch(this.#lane, { ...claimed, batches: claimed.batches + 1 }, batch)).toBeUndefined()
    await this.#compareTasks()
    this.#late.push({ fence: claimed, batch })
  }

  async #refuseLate(): Promise<void> {
    for (const { fence, batch } of this.#late.splice(0)) {
      expect(await commitBatch(this.#database, fence, batch)).toBeUndefined()
      this.refused += 1
    }
  }

  async #recover(rows: ExecutionRows): Promise<void> {
    const { wish, settings } = rows
    if (isExecutionEnded(rows.execution)) {
      await this.#beOver()
      return this.#refuseLate()
    }
    const by = { by: "user:simulator", reason: undefined, width: settings?.width ?? null, rollback: false }
    await this.#database.transaction((tx) => updateWish(tx, { account, id: this.#id, wish, ...by }))
    const claimed = await this.#claim()
    await this.#refuseLate()
    this.takeovers += 1
    const read = await readOpenRows(this.#database, claimed)
    expect(claimed.wishWidth).toBe(settings?.width)
    expect({ classes: noClasses, ...read, settings }).toEqual(rows)
    await this.#window?.loadOpen(read.openTasks.map(({ ordinal }) => ordinal))
    await this.#compareTasks()
  }

  async #batchOf({ before, inputs, result, now }: StoreWrite) {
    const [claimed, window] = [this.#claimed, this.#window]
    if (!claimed || !window) throw new Error("nobody owns the run")
    await window.prepare(result.state.nextOrdinal, this.#plan.targetsCount)
    const batch = makeBatch({
      before,
      result,
      inputs: inputs.map((input) => ({ input, outcome: JSON.stringify(input) })),
      now,
      sentAt: () => now,
      takesFirstRow: (ordinal) => {
        const node = window.get(ordinal)
        if (!node || node.written) return false
        node.written = true
        return true
      },
      newEventId: () => `evt_${this.#id}_${++this.#events}`,
      run: claimed,
    })
    return { claimed, batch }
  }

  /** The tasks, as people see them, are the simulator's. */
  async #compareTasks(): Promise<void> {
    const page = { account, execution: this.#id, after: -1, state: undefined, limit: this.#plan.targetsCount }
    const rows = await listTasks(this.#database, page)
    const shown = rows.map((row) => ({
      ordinal: row.ordinal,
      state: row.state,
      rollback: row.rollback,
      attempt: row.attempt,
      class: row.class,
    }))
    expect(shown).toEqual(this.#expected.tasks)
  }
}
