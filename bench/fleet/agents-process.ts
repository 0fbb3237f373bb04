/** Many simulated agents in one process, told over IPC what to do. */
import { createSecureContext } from "node:tls"
import { Pool } from "undici"
import { SimulatedAgent, type Tally } from "./simulated-agent.ts"

/** What the process is told; each call is answered once. */
export type AgentsCall =
  | { readonly do: "make"; readonly count: number; readonly prefix: string }
  | { readonly do: "enroll"; readonly url: string; readonly caPem?: string; readonly key: string }
  | { readonly do: "connect"; readonly url: string; readonly caPem?: string }
  | { readonly do: "terminate" }
  /** Answered once so many tasks have run since the last reset. */
  | { readonly do: "run"; readonly count: number }
  /** What all say of every figure from now on. */
  | { readonly do: "figure"; readonly value: number }
  | { readonly do: "tally"; readonly timed?: boolean; readonly reset?: boolean }

const enrolmentsAtOnce = 8
const handshakesAtOnce = 32

const agents: SimulatedAgent[] = []
const tally: Tally = {
  timed: false,
  connected: 0,
  lost: 0,
  ran: 0,
  repeated: 0,
  acknowledged: 0,
  finishedAt: 0,
  latencies: [],
  onRan: () => undefined,
  figure: 0,
  figures: 0,
}

/** Resolves once so many tasks have run; nobody looks meanwhile, which would cost what is measured. */
function untilRan(count: number): Promise<void> {
  return new Promise((resolve) => {
    tally.onRan = () => {
      if (tally.ran < count) return
      tally.onRan = () => undefined
      resolve()
    }
    tally.onRan()
  })
}

async function atMost<T>(count: number, items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await work(item)
  }
  await Promise.all(Array.from({ length: count }, worker))
}

async function enroll(call: Extract<AgentsCall, { do: "enroll" }>): Promise<void> {
  const pool = new Pool(call.url, {
    connections: enrolmentsAtOnce,
    ...(call.caPem ? { connect: { ca: call.caPem } } : {}),
  })
  await atMost(enrolmentsAtOnce, agents, async (agent) => {
    const { statusCode, body } = await pool.request({
      method: "POST",
      path: "/v1/nodes:enroll",
      headers: {
        authorization: `Bearer ${call.key}`,
        "content-type": "application/json",
        "idempotency-key": `enrol-${agent.name}`,
      },
      body: JSON.stringify(agent.enrolment),
    })
    const text = await body.text()
    if (statusCode !== 200) throw new Error(`enrolment of ${agent.name}: ${statusCode} ${text}`)
    agent.enrolled(JSON.parse(text) as { node: string; account: string })
  })
  await pool.close()
}

async function carryOut(call: AgentsCall): Promise<unknown> {
  switch (call.do) {
    case "make":
      for (let n = 0; n < call.count; n++) agents.push(new SimulatedAgent(`${call.prefix}-${n}`, tally))
      return undefined
    case "enroll":
      return await enroll(call)
    case "connect": {
      const secureContext = call.caPem === undefined ? undefined : createSecureContext({ ca: call.caPem })
      return await atMost(handshakesAtOnce, agents, (agent) => agent.connect(`${call.url}/v1/sessions`, secureContext))
    }
    case "terminate":
      for (const agent of agents) agent.terminate()
      return undefined
    case "run":
      return await untilRan(call.count)
    case "figure":
      tally.figure = call.value
      return undefined
    case "tally": {
      const { onRan: _, ...now } = structuredClone({ ...tally, onRan: undefined })
      tally.timed = call.timed ?? tally.timed
      if (call.reset) {
        Object.assign(tally, { ran: 0, repeated: 0, finishedAt: 0 })
        tally.latencies.length = 0
      }
      return now
    }
  }
}

process.on("message", (message: { id: number; call: AgentsCall }) => {
  carryOut(message.call).then(
    (value) => process.send?.({ id: message.id, value }),
    (error: unknown) => process.send?.({ id: message.id, error: error instanceof Error ? error.stack : String(error) }),
  )
})
process.on("disconnect", () => process.exit(0))
