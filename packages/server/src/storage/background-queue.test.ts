import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { startBackgroundQueue, type BackgroundQueue, type BackgroundQueueOptions } from "./background-queue.ts"
import { outboxChannel, type Consumer } from "./dispatcher.ts"
import { Notifier } from "./notifier.ts"
import { appendEvents, removeOldEvents, type NewEvent } from "./outbox.ts"
import { storageRetention } from "./retention.ts"

const fixture = fileURLToPath(new URL("background-queue.fixture.ts", import.meta.url))

describe("background work", () => {
  let test: TestDatabase
  const queues: BackgroundQueue[] = []
  const processes: ChildProcess[] = []
  beforeAll(async () => {
    test = await createTestDatabase(["storage"])
    await test.database.query("create table handled (id text, server text, at timestamptz default clock_timestamp())")
  })
  afterEach(async () => {
    for (const child of processes.splice(0)) if (child.exitCode === null) child.kill("SIGKILL")
    await Promise.all(queues.splice(0).map((queue) => queue.stop()))
    // PostgreSQL may still be in a statement of a process that was killed; a truncation beside it may deadlock.
    await vi.waitFor(async () => expect(await othersAtWork()).toBe(0), wait)
    await test.database.query("truncate outbox, consumer, server, dead_letter, handled")
    await test.database.query("delete from graphile_worker._private_jobs")
  })
  afterAll(() => test.drop())

  async function othersAtWork(): Promise<unknown> {
    const [row] = await test.database.query<{ count: number }>(
      `select count(*)::int as count from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'`,
    )
    return row?.count
  }

  async function start(
    serverId: string,
    options: Partial<BackgroundQueueOptions> & { consumers: Consumer[] },
  ): Promise<BackgroundQueue> {
    const { connection, database } = test
    const queue = await startBackgroundQueue({ connection, database, serverId, scanMilliseconds: 50, ...options })
    queues.push(queue)
    return queue
  }

  function event(id: string, type = "test.happened"): NewEvent {
    const base = {
      account: "acc_1",
      aggregateId: "exe_1",
      subject: "exe_1",
      subjectVersion: 1,
      depth: 0,
      principal: "prn_1",
    }
    return { ...base, id, type, cause: "req_1", causedBy: "req_1", data: { n: id } }
  }

  const append = (...events: NewEvent[]): Promise<void> => test.database.transaction((tx) => appendEvents(tx, events))
  const wait = { timeout: 20_000, interval: 20 }

  it("hands each event to each consumer that wants it, once, whatever the number of servers", async () => {
    const seen: string[] = []
    const consumers = (server: string): Consumer[] => [
      { name: "all", handle: async ({ id, data }) => void seen.push(`all ${id} ${JSON.stringify(data)} by ${server}`) },
      { name: "some", types: ["test.wanted"], handle: async ({ id }) => void seen.push(`some ${id} by ${server}`) },
    ]
    await start("srv_1", { consumers: consumers("1") })
    await start("srv_2", { consumers: consumers("2") })
    const ids = Array.from({ length: 200 }, (_, n) => `evt_${n}`)
    for (const id of ids) await append(event(id, Number(id.slice(4)) % 2 === 0 ? "test.wanted" : "test.other"))
    await vi.waitFor(() => expect(seen.length).toBe(300), wait)
    const withoutServer = seen.map((text) => text.replace(/ by .*/, ""))
    expect(new Set(withoutServer).size).toBe(300)
    expect(withoutServer).toContain('all evt_7 {"n":"evt_7"}')
    expect(withoutServer).not.toContain("some evt_7")
  })

  it("D11: a notice wakes the dispatcher long before its scan, and with LISTEN cut the scan does the work", async () => {
    const notifier = await Notifier.start(test.connection)
    const seen: string[] = []
    const consumers: Consumer[] = [{ name: "woken", handle: async ({ id }) => void seen.push(id) }]
    const queue = await start("srv_1", { consumers, notifier, scanMilliseconds: 120_000 })
    await append(event("evt_1"))
    await vi.waitFor(() => {
      notifier.notify(outboxChannel)
      expect(seen).toEqual(["evt_1"])
    }, wait)
    await notifier.close()
    queues.splice(queues.indexOf(queue), 1)
    await queue.stop()
    await start("srv_2", { consumers })
    await append(event("evt_2"))
    await vi.waitFor(() => expect(seen).toEqual(["evt_1", "evt_2"]), wait)
  })

  it("serves the other consumers where one can't be served", async () => {
    const seen: string[] = []
    await start("srv_1", {
      consumers: [
        { name: "broken", types: () => Promise.reject(new Error("no such table")), handle: () => Promise.resolve() },
        { name: "whole", handle: async ({ id }) => void seen.push(id) },
      ],
    })
    await append(event("evt_1"))
    await vi.waitFor(() => expect(seen).toEqual(["evt_1"]), wait)
  })

  it("gives a consumer several events in one job, of those that it wants; one that fails is handled again, alone", async () => {
    const seen: string[] = []
    await start("srv_1", { consumers: [{ name: "other", handle: () => Promise.resolve() }] })
    const consumers: Consumer[] = [
      {
        name: "many",
        eventsPerJobMax: 4,
        isWanted: ({ id }) => id !== "evt_3",
        async handle({ id }) {
          seen.push(id)
          if (id === "evt_2" && seen.filter((each) => each === id).length === 1) throw new Error("not yet")
        },
      },
      { name: "one", types: ["test.other"], handle: async ({ id }) => void seen.push(`one ${id}`) },
    ]
    await append(...Array.from({ length: 9 }, (_, n) => event(`evt_${n}`, n === 8 ? "test.other" : "test.happened")))
    await start("srv_2", { consumers })
    await vi.waitFor(() => expect(seen.filter((id) => id === "evt_2")).toHaveLength(2), wait)
    await vi.waitFor(() => expect(seen).toHaveLength(10), wait)
    const once = ["evt_0", "evt_1", "evt_4", "evt_5", "evt_6", "evt_7", "evt_8", "one evt_8"]
    expect(seen.toSorted()).toEqual([...once, "evt_2", "evt_2"].toSorted())
    await vi.waitFor(async () => {
      const jobs = await test.database.query("select count(*)::int as left from graphile_worker._private_jobs")
      expect(jobs).toEqual([{ left: 0 }])
    }, wait)
  })

  it("gives each consumer its own events where they have not come equally far", async () => {
    const seen: string[] = []
    const consumer = (name: string): Consumer => ({ name, handle: async ({ id }) => void seen.push(`${name} ${id}`) })
    const first = await start("srv_1", { consumers: [consumer("early")] })
    await append(event("evt_1"))
    await vi.waitFor(() => expect(seen).toEqual(["early evt_1"]), wait)
    queues.splice(queues.indexOf(first), 1)
    await first.stop()
    await append(event("evt_2"))
    await start("srv_2", { consumers: [consumer("early"), consumer("late")] })
    await vi.waitFor(() => expect(seen).toHaveLength(4), wait)
    expect(seen.toSorted()).toEqual(["early evt_1", "early evt_2", "late evt_1", "late evt_2"])
  })

  it("goes on with the oldest event that is kept where a consumer was away for longer than events are", async () => {
    const seen: string[] = []
    const consumers = [{ name: "away", handle: async ({ id }: { id: string }) => void seen.push(id) }]
    const first = await start("srv_1", { consumers })
    await append(event("evt_1"))
    await vi.waitFor(() => expect(seen).toEqual(["evt_1"]), wait)
    queues.splice(queues.indexOf(first), 1)
    await first.stop()
    await append(event("evt_removed"))
    await append(event("evt_kept"))
    await test.database.transaction(async (tx) => {
      await tx.query("update outbox set time = now() - interval '31 days' where id <> 'evt_kept'")
      expect(await removeOldEvents(tx, Date.now() - 30 * 86_400_000)).toBe(2)
    })
    await start("srv_2", { consumers })
    await vi.waitFor(() => expect(seen).toEqual(["evt_1", "evt_kept"]), wait)
  })

  it("X13: dead letters and jobs that failed for the last time are removed after a month, others stay", async () => {
    const { database } = test
    await start("srv_1", { consumers: [] })
    await database.query(
      `insert into dead_letter (account, aggregate_id, event_id, consumer, attempts, reason, event, failed_at)
       select 'acc_1', 'exe_1', 'evt_' || days, 'c', 12, 'r', '{}', now() - make_interval(days => days)
       from unnest(array[1, 31]) as days`,
    )
    await database.query(
      `select graphile_worker.add_job('task:nobody', '{}', run_at := now() - make_interval(days => days), max_attempts := 1)
       from unnest(array[1, 31, 32]) as days`,
    )
    await database.query(
      "update graphile_worker._private_jobs set attempts = 1 where run_at > now() - interval '31 days 12 hours'",
    )
    const task = storageRetention(() => Date.now()).find(({ name }) => name === "storage.failures-retention")
    await task?.run({ database, signal: new AbortController().signal, attempt: 1 })
    expect(await database.query("select event_id from dead_letter")).toEqual([{ event_id: "evt_1" }])
    const jobs = await database.query("select attempts from graphile_worker._private_jobs order by run_at")
    expect(jobs).toEqual([{ attempts: 0 }, { attempts: 1 }])
  })

  it("keeps an event that its consumer gave up on, with the reason", async () => {
    const consumers: Consumer[] = [
      {
        name: "failing",
        async handle() {
          throw new Error("the mail server is away")
        },
      },
    ]
    await start("srv_1", { consumers })
    await append(event("evt_1"))
    // The wait between tries is the job queue's; only the number of tries is shortened.
    await vi.waitFor(async () => {
      await test.database.query(
        "update graphile_worker._private_jobs set run_at = now(), max_attempts = 2 where locked_at is null and attempts < 2",
      )
      expect(await test.database.query("select event_id, consumer, attempts, reason from dead_letter")).toEqual([
        { event_id: "evt_1", consumer: "failing", attempts: 2, reason: "Error: the mail server is away" },
      ])
    }, wait)
  })

  it("D10: the jobs of a server that is killed run on another one within 10 s", async () => {
    const launch = async (serverId: string, mode: string): Promise<ChildProcess> => {
      const args = ["--conditions=source", fixture, JSON.stringify(test.connection), serverId, mode]
      const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
      processes.push(child)
      await once(child.stdout ?? child, "data")
      return child
    }
    const holding = await launch("srv_a", "hold")
    await append(...Array.from({ length: 50 }, (_, n) => event(`evt_${n}`)))
    await vi.waitFor(async () => {
      expect(await test.database.query("select count(*) as count from handled where server = 'srv_a/hold'")).toEqual([
        { count: 10 },
      ])
      expect(
        await test.database.query(
          "select count(*) as count from graphile_worker._private_jobs where locked_by is not null",
        ),
      ).toEqual([{ count: 50 }])
    }, wait)
    await launch("srv_b", "work")
    holding.kill("SIGKILL")
    const killed = performance.now()
    await vi.waitFor(
      async () => {
        const [row] = await test.database.query(
          "select count(distinct id) as count from handled where server = 'srv_b/work'",
        )
        expect(row).toEqual({ count: 50 })
      },
      { timeout: 15_000, interval: 50 },
    )
    expect(performance.now() - killed).toBeLessThan(10_000)
  })

  it("R15: leaves the work of services that are elsewhere to others, until they are here again", async () => {
    const seen: string[] = []
    let release = (): void => {}
    const held = new Promise<void>((resolve) => (release = resolve))
    const consumers = (server: string): Consumer[] => [
      {
        name: "one.events",
        handle: async ({ id }) => {
          seen.push(`one ${id} ${server}`)
          if (id === "evt_0") await held
        },
      },
      { name: "two.events", handle: async ({ id }) => void seen.push(`two ${id} ${server}`) },
    ]
    const first = await start("srv_1", { consumers: consumers("1") })
    await append(event("evt_0"))
    await vi.waitFor(() => expect(seen.toSorted()).toEqual(["one evt_0 1", "two evt_0 1"]), wait)
    // What is under way keeps nobody waiting, and goes on to its end.
    await first.leave(new Set(["one"]))
    for (const id of ["evt_1", "evt_2"]) {
      await append(event(id))
      await vi.waitFor(() => expect(seen).toContain(`two ${id} 1`), wait)
    }
    const jobsLeft = async () =>
      test.database.query("select count(*)::int as left from graphile_worker._private_jobs where locked_at is null")
    await vi.waitFor(async () => expect(await jobsLeft()).toEqual([{ left: 2 }]), wait)
    expect(seen.filter((text) => text.startsWith("one"))).toEqual(["one evt_0 1"])
    const second = await start("srv_2", { consumers: consumers("2"), elsewhere: new Set(["two"]) })
    await vi.waitFor(() => expect(seen.filter((text) => text.startsWith("one"))).toHaveLength(3), wait)
    expect(seen).toEqual(expect.arrayContaining(["one evt_1 2", "one evt_2 2"]))
    queues.splice(queues.indexOf(second), 1)
    await second.stop()
    await first.leave(new Set())
    await append(event("evt_3"))
    await vi.waitFor(() => expect(seen).toContain("one evt_3 1"), wait)
    release()
    await vi.waitFor(async () => {
      expect(await test.database.query("select id from graphile_worker._private_jobs")).toEqual([])
    }, wait)
    expect(new Set(seen).size).toBe(seen.length)
  })

  it("runs scheduled tasks", async () => {
    let runs = 0
    const cronTasks = [{ name: "tick", cron: "* * * * *", run: async () => void runs++ }]
    await start("srv_1", { consumers: [], cronTasks })
    // The schedule's own job, added now instead of at the next full minute.
    await test.database.query("select graphile_worker.add_job('cron:tick')")
    await vi.waitFor(() => expect(runs).toBe(1), wait)
    // The schedule is put on record beside the worker's start, in no order with its first job.
    await vi.waitFor(async () => {
      expect(await test.database.query("select identifier from graphile_worker._private_known_crontabs")).toEqual([
        { identifier: "tick" },
      ])
    }, wait)
  })
})
