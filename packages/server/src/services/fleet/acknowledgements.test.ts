import type { ServerFrame, TaskOutcome } from "@signalbox/contracts/fleet/agent-protocol"
import { beforeEach, describe, expect, test } from "vitest"
import type { ExecutorReport } from "../../router/ports.ts"
import { systemClock } from "../../system.ts"
import { acknowledgementLimits } from "./acknowledgements.ts"
import type { FleetParts } from "./parts.ts"
import type { AgentSession } from "./session.ts"
import { SessionExecutor } from "./session-executor.ts"

const outcome: TaskOutcome = { state: "succeeded", steps: [] }
const keyOf = (ordinal: number): string => `exe_${"0".repeat(26)}/${ordinal}/1`

/** What a node's session was given. */
class Recorder {
  readonly frames: ServerFrame[] = []
  readonly session: AgentSession

  constructor(nodeId: string) {
    const identity = { id: `ses_${nodeId}`, account: "main", nodeId, cause: "req_1" }
    const send = (frame: ServerFrame) => this.frames.push(frame) > 0
    this.session = { identity, send } as unknown as AgentSession
  }
}

let nodes: Map<string, Recorder>
let executor: SessionExecutor
let reports: ExecutorReport[]

beforeEach(() => {
  nodes = new Map()
  reports = []
  const parts = { clock: systemClock } as unknown as FleetParts
  executor = new SessionExecutor(parts, { find: (nodeId) => nodes.get(nodeId)?.session })
  executor.listen((report) => void reports.push(report))
})

function connect(nodeId: string): Recorder {
  const recorder = new Recorder(nodeId)
  nodes.set(nodeId, recorder)
  return recorder
}

const acknowledge = (nodeId: string, ordinal = 0): void =>
  executor.acknowledge([{ nodeId, key: keyOf(ordinal), phase: "task" }])
const acknowledged = (ordinal = 0): ServerFrame => ({ type: "acknowledge", key: keyOf(ordinal), phase: "task" })

describe("an acknowledgement", () => {
  test("goes with the next order of its node, before it", () => {
    const [one, other] = [connect("nod_1"), connect("nod_2")]
    acknowledge("nod_1")
    acknowledge("nod_2")
    expect(one.frames).toEqual([])
    executor.dispatch([{ type: "kill", nodeId: "nod_1", key: keyOf(1), reason: "why" }])
    expect(one.frames).toEqual([acknowledged(), { type: "kill", key: keyOf(1), reason: "why" }])
    expect(other.frames).toEqual([])
  })

  test("goes with the answer to the node's sign of life, once", () => {
    const { session, frames } = connect("nod_1")
    acknowledge("nod_1")
    executor.work(session, { type: "heartbeat" })
    executor.work(session, { type: "heartbeat" })
    expect(frames).toEqual([acknowledged()])
  })

  test("answers a result that is said again, which nobody else hears of", () => {
    const { session, frames } = connect("nod_1")
    acknowledge("nod_1")
    executor.work(session, { type: "task-finished", key: keyOf(0), outcome })
    expect(frames).toEqual([acknowledged()])
    expect(reports).toEqual([])
    // By now the node has it; what it says after that is looked at.
    executor.work(session, { type: "task-finished", key: keyOf(0), outcome })
    expect(reports).toHaveLength(1)
  })

  test("goes alone after a moment, of those that wait longest a few at a time", () => {
    const { nodesPerTick } = acknowledgementLimits
    for (let n = 0; n < nodesPerTick + 1; n++) {
      connect(`nod_${n}`)
      acknowledge(`nod_${n}`)
    }
    executor.flushAcknowledgements()
    expect([...nodes.values()].map(({ frames }) => frames.length)).toEqual([
      ...Array.from({ length: nodesPerTick }, () => 1),
      0,
    ])
    executor.flushAcknowledgements()
    expect(nodes.get(`nod_${nodesPerTick}`)?.frames).toEqual([acknowledged()])
  })

  test("doesn't wait where a node has many, nor when the server stops", () => {
    const [many, one] = [connect("nod_1"), connect("nod_2")]
    for (let ordinal = 0; ordinal <= acknowledgementLimits.perNodeMax; ordinal++) acknowledge("nod_1", ordinal)
    expect(many.frames).toHaveLength(acknowledgementLimits.perNodeMax + 1)
    acknowledge("nod_2")
    executor.stop()
    expect(one.frames).toEqual([acknowledged()])
  })

  test("is lost with its session: the node asks again", () => {
    const { session } = connect("nod_1")
    acknowledge("nod_1")
    nodes.delete("nod_1")
    executor.closed(session)
    const next = connect("nod_1")
    executor.work(next.session, { type: "heartbeat" })
    executor.flushAcknowledgements()
    expect(next.frames).toEqual([])
  })
})
