import { connect } from "node:net"
import type { WaitOrder } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError } from "@signalbox/kernel/app-error"
import { resolveInRoot } from "./root-path.ts"
import { lstatIfThere } from "./saved-tree.ts"
import { fillText, type StepTry } from "./step-try.ts"
import type { TryResult } from "./try-result.ts"

/** Waits for a time, a port or a name on the node, for at most the step's time. Changes nothing. */
export async function performWait(attempt: StepTry, order: WaitOrder): Promise<TryResult> {
  const { timeoutMilliseconds, stop } = attempt
  if ("milliseconds" in order) {
    if (!(await pause(Math.min(order.milliseconds, timeoutMilliseconds), stop))) return stopped
    return order.milliseconds <= timeoutMilliseconds ? done : { state: "timed-out", message: "its time was up" }
  }
  const isThere = "path" in order ? watchPath(attempt, order.path) : watchPort(attempt, order)
  const { waitPollMilliseconds } = attempt.context.limits
  const until = performance.now() + timeoutMilliseconds
  for (;;) {
    if (stop.aborted) return stopped
    if (await isThere()) return done
    const left = until - performance.now()
    if (left <= 0) return { state: "timed-out", message: `waited ${timeoutMilliseconds} ms in vain` }
    if (!(await pause(Math.min(waitPollMilliseconds, left), stop))) return stopped
  }
}

const done: TryResult = { state: "succeeded", changed: false }
const stopped: TryResult = { state: "killed", message: "stopped while it waited" }

function watchPath({ context }: StepTry, path: string): () => Promise<boolean> {
  return async () => (await lstatIfThere(await resolveInRoot(context.root, path))) !== undefined
}

function watchPort(attempt: StepTry, order: Extract<WaitOrder, { port: unknown }>): () => Promise<boolean> {
  const text = fillText(order.port, attempt.inputs).trim()
  const port = Number(text)
  if (!/^\d{1,5}$/.test(text) || port < 1 || port > 65_535) {
    throw new AppError("agent.step-refused", `"${text.slice(0, 40)}" is no port`)
  }
  return () => answers(order.host, port, attempt)
}

async function answers(host: string, port: number, { context, stop }: StepTry): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket = connect({ host, port })
  const onAbort = () => resolve(false)
  stop.addEventListener("abort", onAbort)
  socket.setTimeout(context.limits.waitConnectMilliseconds, () => resolve(false))
  socket.once("connect", () => resolve(true))
  socket.once("error", () => resolve(false))
  const answered = await promise
  stop.removeEventListener("abort", onAbort)
  socket.destroy()
  return answered
}

const timerMillisecondsMax = 2 ** 31 - 1

/** True after the time, false where it was cut short. */
export async function pause(milliseconds: number, stop: AbortSignal): Promise<boolean> {
  if (stop.aborted) return false
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const onAbort = () => resolve(false)
  stop.addEventListener("abort", onAbort)
  const timer = setTimeout(() => resolve(true), Math.min(milliseconds, timerMillisecondsMax))
  const waited = await promise
  clearTimeout(timer)
  stop.removeEventListener("abort", onAbort)
  return waited
}
