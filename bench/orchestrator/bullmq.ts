/** BullMQ on Redis with an append-only file synced every second. It keeps the finished job and its output. */
import { spawn } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Queue, Worker } from "bullmq"
import { contenderInput, finish, firstAndLast } from "../measure.ts"

const { tasks, rounds } = contenderInput<{ tasks: number; rounds: number }>()
const directory = await mkdtemp(join(tmpdir(), "signalbox-bench-redis-"))
const socket = join(directory, "redis.sock")
const redis = spawn(
  "redis-server",
  [
    "--port",
    "0",
    "--unixsocket",
    socket,
    "--dir",
    directory,
    "--appendonly",
    "yes",
    "--appendfsync",
    "everysec",
    "--save",
    "",
  ],
  { stdio: ["ignore", "ignore", "inherit"] },
)
await new Promise((resolve) => setTimeout(resolve, 1000))
const connection = { path: socket, maxRetriesPerRequest: null }
const queue = new Queue("noop", { connection })
let done = 0
const worker = new Worker("noop", async () => ({ ok: ++done }), { connection, concurrency: 100 })
await worker.waitUntilReady()
await new Promise((resolve) => setTimeout(resolve, 500))
let round = 0
const { first, last } = await firstAndLast(rounds, async () => {
  round++
  const begin = performance.now()
  for (let from = 0; from < tasks; from += 1000) {
    await queue.addBulk(
      Array.from({ length: Math.min(1000, tasks - from) }, (_, index) => ({ name: "noop", data: { n: from + index } })),
    )
  }
  while ((await queue.getCompletedCount()) < tasks * round) await new Promise((resolve) => setTimeout(resolve, 10))
  return (performance.now() - begin) / 1000
})
await worker.close(true)
await queue.close()
const stopped = new Promise((resolve) => redis.once("exit", resolve))
redis.kill("SIGKILL")
await stopped
await rm(directory, { recursive: true, force: true })
if (done !== tasks * rounds) throw new Error(`${done} of ${tasks * rounds} ran`)
finish({ perSecond: tasks / last, firstPerSecond: tasks / first })
