/**
 * A process that plays a run on the real runner, store and scheduler with one line of their source changed: told a fault
 * by its name over IPC (none: as it is), it answers with what the oracle saw. Started with `--conditions=source`.
 */
import { randomUUID } from "node:crypto"
import { registerHooks } from "node:module"
import {
  executionsAbort,
  executionsCreate,
  executionsGet,
  executionsResize,
  tasksList,
} from "@signalbox/contracts/workflows/operations"
import type { CallInputOf } from "@signalbox/contracts/operation"
import { openDatabase, type Connection, type Database, type Sql } from "../../storage/database.ts"
import { plantedFaults, type Story } from "./planted-faults.fixture.ts"
import { findRowFaults, keepHistory } from "./row-history.fixture.ts"
import { WitnessExecutor } from "./witness-executor.fixture.ts"
import { documentOf, eventually, FixtureFleet, makeNodes, type Fixture, type openFixture } from "./workflows.fixture.ts"

const folders = /\/packages\/(?:server\/src\/services\/workflows|engine\/src)\//
const queryOf = (url: string | undefined): string => /\?fault=.*$/.exec(url ?? "")?.[0] ?? ""

/** No fault: nodes of this process find a new owner at once. */
const hurry = {
  file: "server/src/services/workflows/model.ts",
  from: "reconnectMilliseconds = 40_000",
  to: "reconnectMilliseconds = 300",
}

// Each fault has a copy of these modules for itself, named by a query that goes along with their imports.
registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context)
    const query = queryOf(context.parentURL)
    return query !== "" && folders.test(resolved.url) && queryOf(resolved.url) === ""
      ? { ...resolved, url: `${resolved.url}${query}` }
      : resolved
  },
  load(url, context, next) {
    const loaded = next(url, context)
    const query = queryOf(url)
    const fault = plantedFaults[decodeURIComponent(query.slice("?fault=".length))]
    const changes = [...(query === "" ? [] : [hurry]), ...(fault ? [fault] : [])]
    const here = changes.filter(({ file }) => url.includes(`/packages/${file}?`))
    if (here.length === 0) return loaded
    const { source: read } = loaded
    let source = typeof read === "string" ? read : new TextDecoder().decode(read ?? undefined)
    for (const { file, from, to } of here) {
      if (source.split(from).length !== 2) throw new Error(`${file} does not hold once: ${from}`)
      source = source.replace(from, () => to)
    }
    return { ...loaded, source }
  },
})

const targetsCount = 24
const widthBefore = 7
const endMilliseconds = 10_000
const endsBeforeTakeover = 6
const createInput: CallInputOf<typeof executionsCreate> = {
  document: documentOf({ retry: { attempts: 2, delay: "0s", jitter: 0 }, startTimeout: "2s", rollback: "on-failure" }),
  targets: { all: true },
  concurrency: "30%",
  errorLimit: targetsCount,
  windows: ["night"],
}
const leases = { leaseMilliseconds: 300, renewMilliseconds: 100, scanMilliseconds: 50 }

interface Gate {
  readonly database: Database
  arrived: number
  waiting: number
  /** Commits that were sent and are not answered: now, and at most so far. */
  inFlight: number
  inFlightMax: number
  /** From now on commits wait here, sent and not arrived. */
  hold: Promise<void> | undefined
  /** Renewals wait here: the server stands still. */
  stands: Promise<void> | undefined
  /** "next": the next commit that has another one behind it fails in the database. */
  fails: "never" | "next" | "done"
}

const followMilliseconds = 50

/** A commit leaves only once the witness has looked at what was said before it; they leave in the order of their calls. */
function gateOf(database: Database, witness: WitnessExecutor): Gate {
  let leaving: Promise<unknown> = Promise.resolve()
  const isFollowed = async (): Promise<boolean> => {
    const followed = async (): Promise<boolean> => gate.inFlight > 1
    return gate.fails === "next" && eventually(followed, followMilliseconds).catch(() => false)
  }
  const pass = async (before: Promise<unknown>): Promise<{ readonly fails: boolean }> => {
    await before
    await new Promise((resolve) => setImmediate(resolve))
    await witness.settled()
    gate.waiting += 1
    await gate.hold
    const fails = await isFollowed()
    if (fails) gate.fails = "done"
    gate.waiting -= 1
    return { fails }
  }
  const through =
    (sql: Sql): Sql["query"] =>
    async (text, values, options) => {
      if (text.includes("set leased_until")) await gate.stands
      if (options?.name !== "executions-commit") return sql.query(text, values, options)
      gate.inFlight += 1
      gate.inFlightMax = Math.max(gate.inFlightMax, gate.inFlight)
      const passed = pass(leaving)
      leaving = passed
      const { fails } = await passed
      const answer = fails ? sql.query<never>("select 1 / 0") : sql.query<never>(text, values, options)
      return answer.finally(() => {
        gate.arrived += 1
        gate.inFlight -= 1
      })
    }
  const { pool } = database
  const gate: Gate = {
    arrived: 0,
    waiting: 0,
    inFlight: 0,
    inFlightMax: 0,
    hold: undefined,
    stands: undefined,
    fails: "never",
    database: {
      pool,
      close: () => database.close(),
      transaction: (work) => database.transaction(work),
      query: through(database),
      async openLane() {
        const lane = await database.openLane()
        return lane && { query: through(lane), close: () => lane.close() }
      },
    },
  }
  return gate
}

/**
 * A server dies, or stands still, with a commit on its way, a person changes the run while nobody has it, a window closes,
 * and another server takes the run over; the commit of the first one arrives between its claim and its first commit.
 */
async function play(database: Database, story: Story, query: string): Promise<string[]> {
  const loaded = (await import(`./workflows.fixture.ts${query}`)) as { openFixture: typeof openFixture }
  const witness = new WitnessExecutor(database, widthBefore)
  const window = { open: true }
  const windows = { stateOf: () => ({ open: window.open, changesAt: null, name: "night" }) }
  const [firstGate, secondGate] = [gateOf(database, witness), gateOf(database, witness)]
  const shared = { fleet: new FixtureFleet(makeNodes(targetsCount)), executor: witness }
  const parts = { settings: leases, windows, shared }
  const first = await loaded.openFixture({ ...parts, database: firstGate.database })
  const { id } = await first.call(executionsCreate, createInput)
  await eventually(async () => witness.endsCount >= endsBeforeTakeover, endMilliseconds)
  const [late, next] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  if (story === "broken") return playOn(database, { id, first, gate: firstGate, witness })
  firstGate.hold = late.promise
  await eventually(async () => firstGate.waiting > 0, endMilliseconds)
  if (story === "revived") firstGate.stands = late.promise
  else void first.workflows.owner.abandon()
  const before = await rowOf(database, id)
  await wish(first, id, story)
  window.open = story === "aborted"
  witness.takeover(story === "aborted" ? { width: 0, closed: false } : { width: 2, closed: true })
  secondGate.hold = next.promise
  const second = await loaded.openFixture({ ...parts, database: secondGate.database })
  const faults: string[] = []
  const until = (what: string, check: () => Promise<boolean>): Promise<unknown> =>
    eventually(async () => witness.faults.length > 0 || check(), endMilliseconds).catch(() => faults.push(what))
  await until("the run was not taken over", async () => (await rowOf(database, id)).epoch > before.epoch)
  const arrived = firstGate.arrived
  late.resolve()
  await until("the late commit did not arrive", async () => firstGate.arrived > arrived)
  next.resolve()
  if (story !== "aborted") await until("the run was not held", async () => (await rowOf(database, id)).held)
  window.open = true
  witness.open()
  await until("the run did not end", async () => (await rowOf(database, id)).over)
  await witness.settled()
  const run = await second.call(executionsGet, { execution: id })
  const { items } = await second.call(tasksList, { execution: id, limit: targetsCount })
  faults.push(...witness.faults, ...findRowFaults(run, items, witness), ...(await keepHistory.read(database, id)))
  if (firstGate.inFlightMax < 2) faults.push("no commit was ever sent behind another")
  await second.stop()
  await first.stop()
  return faults
}

/** A commit fails while another one is on its way behind it; the same server takes the run up again. */
async function playOn(
  database: Database,
  run: { readonly id: string; readonly first: Fixture; readonly gate: Gate; readonly witness: WitnessExecutor },
): Promise<string[]> {
  const { id, first, gate, witness } = run
  const faults: string[] = []
  gate.fails = "next"
  await eventually(async () => gate.fails === "done", endMilliseconds).catch(() => faults.push("no commit failed"))
  await eventually(async () => witness.faults.length > 0 || (await rowOf(database, id)).over, endMilliseconds).catch(
    () => faults.push("the run did not end"),
  )
  await witness.settled()
  const found = await first.call(executionsGet, { execution: id })
  const { items } = await first.call(tasksList, { execution: id, limit: targetsCount })
  faults.push(...witness.faults, ...findRowFaults(found, items, witness), ...(await keepHistory.read(database, id)))
  await first.stop()
  return faults
}

async function rowOf(database: Database, id: string): Promise<{ held: boolean; epoch: number; over: boolean }> {
  const [row] = await database.query<{ held: boolean; epoch: number; over: boolean }>(
    "select hold is not null as held, epoch, finished_at is not null as over from executions where id = $1",
    [id],
  )
  if (!row) throw new Error("the execution is there")
  return row
}

function wish(fixture: Fixture, execution: string, story: Story): Promise<unknown> {
  if (story === "aborted") return fixture.call(executionsAbort, { execution })
  return fixture.call(executionsResize, { execution, concurrency: 2 })
}

let connection: Connection | undefined

/** With connections of its own: a changed statement may have the name of the real one. */
async function playApart(story: Story, fault: string | undefined): Promise<string[]> {
  if (!connection) throw new Error("the database is told first")
  const database = await openDatabase({ connection, connectionsMax: 10 })
  try {
    return await play(database, story, `?fault=${encodeURIComponent(fault ?? `none-${randomUUID()}`)}`)
  } finally {
    await database.query("update executions set finished_at = now() where finished_at is null")
    await database.close()
  }
}

process.on("message", (told: { connection?: Connection; fault?: string; story: Story }) => {
  const work = async (): Promise<string[]> => {
    if (!told.connection) return playApart(told.story, told.fault)
    connection = told.connection
    const database = await openDatabase({ connection, connectionsMax: 1 })
    await keepHistory.begin(database)
    await database.close()
    return []
  }
  work().then(
    (faults) => process.send?.({ faults }),
    (error: unknown) => process.send?.({ faults: [], error: error instanceof Error ? error.stack : String(error) }),
  )
})
process.on("disconnect", () => process.exit(0))
