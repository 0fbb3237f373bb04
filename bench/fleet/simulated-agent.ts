/**
 * One simulated agent: the agent's protocol over a real WebSocket, a journal in memory, and no commands. Owns its
 * socket and its journal: an attempt is run once, a repeated order is answered from the journal.
 */
import { generateKeyPairSync, randomUUID, sign, type KeyObject } from "node:crypto"
import type { SecureContext } from "node:tls"
import { nextBeat } from "@signalbox/agent/heartbeat"
import type { AgentFrame, ServerFrame } from "@signalbox/contracts/fleet/agent-protocol"
import { LeanSocket } from "./lean-socket.ts"

/** What all agents of a process share. */
export interface Tally {
  /** Orders come one after the other: their latencies are kept. */
  timed: boolean
  connected: number
  lost: number
  ran: number
  repeated: number
  acknowledged: number
  /** When the last result was sent: milliseconds since 1970, with fractions. */
  finishedAt: number
  /** Milliseconds from sending the result before to receiving an order, where `timed`. */
  readonly latencies: number[]
  /** Called once a task has run. */
  onRan: () => void
  /** What all say of every figure that they are asked for, and how many they said. */
  figure: number
  figures: number
}

/** How the text of an order begins, as the server writes it. */
const startOrder = /^\{"type":"start","key":"([^"]+)"/

/** The same for all processes of this machine. */
export const preciseNow = (): number => performance.timeOrigin + performance.now()

export class SimulatedAgent {
  readonly name: string
  readonly #tally: Tally
  readonly #privateKey: KeyObject
  readonly #publicKey: string
  readonly #machineId = randomUUID()
  readonly #journal = new Map<string, "finished" | "acknowledged">()
  #node = ""
  #account = ""
  #socket: LeanSocket | undefined
  #heartbeat: NodeJS.Timeout | undefined
  #lastHeard = 0
  #lastSent = 0
  readonly #meters: NodeJS.Timeout[] = []
  /** Resolves with the welcome. */
  #welcomed: (() => void) | undefined

  constructor(name: string, tally: Tally) {
    this.name = name
    this.#tally = tally
    const pair = generateKeyPairSync("ed25519")
    this.#privateKey = pair.privateKey
    this.#publicKey = pair.publicKey.export({ format: "der", type: "spki" }).toString("base64")
  }

  get enrolment(): object {
    return { name: this.name, machineId: this.#machineId, publicKey: this.#publicKey, tags: {} }
  }

  enrolled({ node, account }: { readonly node: string; readonly account: string }): void {
    this.#node = node
    this.#account = account
  }

  /** Opens a session; resolves when it is welcome. */
  connect(url: string, secureContext: SecureContext | undefined): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.#welcomed = resolve
      this.#socket = new LeanSocket({
        url: new URL(url),
        headers: { authorization: `Bearer ${this.#token()}` },
        secureContext,
        onOpen: () => this.#hello(),
        onText: (text) => {
          this.#lastHeard = performance.now()
          this.#hear(text)
        },
        onAlive: () => (this.#lastHeard = performance.now()),
        onClose: () => this.#closed(),
        onError: reject,
      })
    })
  }

  #closed(): void {
    this.#measure([])
    if (this.#heartbeat) this.#tally.lost += 1
    clearTimeout(this.#heartbeat)
  }

  /** Ends without a word. */
  terminate(): void {
    clearTimeout(this.#heartbeat)
    this.#heartbeat = undefined
    this.#socket?.terminate()
  }

  #hello(): void {
    this.#send({
      type: "hello",
      protocol: 1,
      agentVersion: "0.1.0",
      machineId: this.#machineId,
      bootId: "boot",
      open: [],
    })
  }

  /** Of an order nothing is needed but its key. */
  #hear(text: string): void {
    const key = startOrder.exec(text)?.[1]
    if (key === undefined) this.#receive(JSON.parse(text) as ServerFrame)
    else this.#run(key)
  }

  #receive(frame: ServerFrame): void {
    switch (frame.type) {
      case "welcome":
        this.#keepAlive(frame.heartbeatSeconds * 1000)
        this.#tally.connected += 1
        this.#welcomed?.()
        break
      case "start":
        this.#run(frame.key)
        break
      case "acknowledge":
        if (this.#journal.get(frame.key) === "finished") this.#tally.acknowledged += 1
        this.#journal.set(frame.key, "acknowledged")
        break
      case "watch-metrics":
        this.#measure(frame.watches)
        break
      case "refused":
        throw new Error(`${this.name} was refused: ${frame.code} ${frame.message}`)
      default:
        break
    }
  }

  /** As a real agent: no beat while frames go both ways. */
  #keepAlive(beatMilliseconds: number): void {
    const look = () => {
      const [lastHeard, lastSent] = [this.#lastHeard, this.#lastSent]
      const next = nextBeat({ now: performance.now(), lastHeard, lastSent, beatMilliseconds })
      if (next.isDue) this.#beat()
      this.#heartbeat = setTimeout(look, next.lookInMilliseconds)
    }
    this.#heartbeat = setTimeout(look, beatMilliseconds)
  }

  /** As a real agent: a timer for each interval, from a random moment on, and one frame for what comes due together. */
  #measure(watches: ReadonlyArray<{ readonly id: string; readonly everyMilliseconds: number }>): void {
    for (const timer of this.#meters.splice(0)) clearTimeout(timer)
    for (const [every, group] of Map.groupBy(watches, ({ everyMilliseconds }) => everyMilliseconds)) {
      const say = (): void => {
        this.#send({ type: "metrics", samples: group.map(({ id }) => ({ id, value: this.#tally.figure })) })
        this.#tally.figures += group.length
      }
      this.#meters.push(setTimeout(() => this.#meters.push(setInterval(say, every)), every * Math.random()))
    }
  }

  #beat(): void {
    this.#lastSent = performance.now()
    this.#socket?.sendWithPing(JSON.stringify({ type: "heartbeat", load: 0 } satisfies AgentFrame))
  }

  /** As a real agent with a task that is over within a tenth of a second: its end says that it began. */
  #run(key: string): void {
    const now = preciseNow()
    const tally = this.#tally
    if (tally.timed && tally.finishedAt > 0) tally.latencies.push(now - tally.finishedAt)
    if (this.#journal.has(key)) tally.repeated += 1
    else {
      tally.ran += 1
      this.#journal.set(key, "finished")
    }
    const head = `done by ${this.#node}\n`
    const stdout = { head, tail: "", bytes: head.length, truncated: false }
    const step = {
      name: "noop",
      state: "succeeded",
      attempts: 1,
      exitCode: 0,
      durationMilliseconds: 0,
      stdout,
    } as const
    tally.finishedAt = preciseNow()
    this.#send({ type: "task-finished", key, outcome: { state: "succeeded", steps: [step] } })
    tally.onRan()
  }

  #send(frame: AgentFrame): void {
    this.#lastSent = performance.now()
    this.#socket?.send(JSON.stringify(frame))
  }

  #token(): string {
    const issuedAt = Math.floor(Date.now() / 1000)
    const head = { alg: "EdDSA", kid: this.#node }
    const claims = {
      sub: this.#node,
      account: this.#account,
      aud: "signalbox",
      iat: issuedAt,
      exp: issuedAt + 60,
      jti: randomUUID(),
      machineId: this.#machineId,
    }
    const text = [head, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".")
    return `${text}.${sign(undefined, Buffer.from(text), this.#privateKey).toString("base64url")}`
  }
}
