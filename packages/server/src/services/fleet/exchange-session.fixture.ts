import { agentLimits, type AgentFrame, type ServerFrame } from "@signalbox/contracts/fleet/agent-protocol"
import type { sessionsExchange } from "@signalbox/contracts/fleet/operations"
import type { CallInputOf, OutputOf } from "@signalbox/contracts/operation"
import type { FleetServer, TestMachine } from "./fleet.fixture.ts"

type Input = CallInputOf<typeof sessionsExchange>
type Reply = OutputOf<typeof sessionsExchange>

export function helloOf(machine: TestMachine): Extract<AgentFrame, { type: "hello" }> {
  return { type: "hello", protocol: 1, agentVersion: "0.1.0", machineId: machine.machineId, bootId: "b", open: [] }
}

/** A machine's session over exchanges; says exactly what a test tells it to. */
export class ExchangeSession {
  readonly #server: FleetServer
  readonly #machine: TestMachine
  session = ""
  /** The number of the next frame to send, and how many of the server's have come. */
  sequence = 1
  received = 0

  private constructor(server: FleetServer, machine: TestMachine) {
    this.#server = server
    this.#machine = machine
  }

  static async open(server: FleetServer, machine: TestMachine): Promise<ExchangeSession> {
    const made = new ExchangeSession(server, machine)
    const [welcome] = await made.exchange([helloOf(machine)], 10_000)
    if (welcome?.type !== "welcome") throw new Error(`no welcome but ${JSON.stringify(welcome)}`)
    return made
  }

  /** One call as it is given; counts nothing. */
  async call(input: Partial<Input> = {}, token?: string): Promise<Reply> {
    const { session, sequence, received } = this
    const whole = { ...(session === "" ? {} : { session }), sequence, received, frames: [], ...input }
    return await this.#server.call<Reply>("sessions.exchange", whole, {
      token: token ?? (await this.#machine.token()),
    })
  }

  /** A call whose reply arrives: both sides' numbers go on. */
  async exchange(frames: object[] = [], waitMilliseconds = 0): Promise<ServerFrame[]> {
    const reply = await this.call({ frames: frames.map((frame) => JSON.stringify(frame)), waitMilliseconds })
    this.session = reply.session
    this.sequence = reply.received + 1
    const fresh = reply.frames.slice(this.received + 1 - reply.sequence)
    this.received += fresh.length
    return framesOf({ frames: fresh })
  }

  /** A call of which it is sure that it waits in the server: of two, the newer one let the older go. */
  async wait(): Promise<{ readonly reply: Promise<Reply> }> {
    const waitMilliseconds = agentLimits.exchangeWaitMillisecondsMax
    const calls = [this.call({ waitMilliseconds }), this.call({ waitMilliseconds })] as const
    const first = await Promise.race(calls.map((call, index) => call.then(() => index)))
    return { reply: first === 0 ? calls[1] : calls[0] }
  }
}

export function framesOf(reply: { readonly frames: readonly string[] }): ServerFrame[] {
  return reply.frames.map((text) => JSON.parse(text) as ServerFrame)
}
