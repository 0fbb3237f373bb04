/** What a server and an agent cost while nothing happens, and how fast a server starts. */
import { spawn, spawnSync } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { figuresOf, round } from "../measure.ts"
import { commandPath, processorSeconds, residentMegabytes, startServerProcess } from "../server-process.ts"

const starts = 5
const settleSeconds = 40
const watchSeconds = 60

const data = await mkdtemp(join(tmpdir(), "signalbox-bench-"))
const sleep = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1000))

const firstStart = await startServerProcess({ data })
await firstStart.stop()
const laterStarts: number[] = []
for (let n = 0; n < starts; n++) {
  const server = await startServerProcess({ data })
  laterStarts.push(server.secondsToAnswer)
  await server.stop()
}

const server = await startServerProcess({ data })
const made = await fetch(`${server.url}/v1/enrollment-keys`, {
  method: "POST",
  headers: {
    authorization: `Bearer ${server.key}`,
    "content-type": "application/json",
    "idempotency-key": "bench-enrolment",
  },
  body: "{}",
})
const { key } = (await made.json()) as { key: string }
const agentData = join(data, "agent")
const enrolled = spawnSync(
  process.execPath,
  [commandPath, "agent", "enroll", "--server", server.url, "--key", key, "--data", agentData, "--name", "bench"],
  {
    encoding: "utf8",
  },
)
if (enrolled.status !== 0) throw new Error(enrolled.stderr)
const agent = spawn(process.execPath, [commandPath, "agent", "run", "--data", agentData, "--root", data], {
  stdio: ["ignore", "ignore", "inherit"],
})
await sleep(settleSeconds)
const serverPid = server.process.pid ?? 0
const agentPid = agent.pid ?? 0
const before = { server: await processorSeconds(serverPid), agent: await processorSeconds(agentPid) }
await sleep(watchSeconds)
const result = {
  bench: "footprint",
  runs: starts,
  unit: "seconds to the first answer (database initialised before)",
  ours: figuresOf(laterStarts),
  firstStartSeconds: round(firstStart.secondsToAnswer),
  serverIdleMegabytes: round(await residentMegabytes(serverPid)),
  serverIdleProcessorPercent: round((((await processorSeconds(serverPid)) - before.server) / watchSeconds) * 100),
  agentIdleMegabytes: round(await residentMegabytes(agentPid)),
  agentIdleProcessorPercent: round((((await processorSeconds(agentPid)) - before.agent) / watchSeconds) * 100),
  peers: [],
  floor: {},
  ratioToBestPeer: null,
  ratioToFloor: null,
}
agent.kill("SIGTERM")
await server.stop()
await rm(data, { recursive: true, force: true })
process.stdout.write(`${JSON.stringify(result)}\n`)
