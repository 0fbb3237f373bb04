/** Asks each base URL of a service on a schedule whether it is well. Owns the timer; each server asks for itself. */
import { getDuration } from "@signalbox/kernel/duration"
import type { RegisteredService } from "./registered-service.ts"
import type { Target } from "./upstream.ts"

const bodyBytesMax = 64 * 1024

export interface HealthAnswer {
  readonly status?: number
  readonly problem?: string
}

export class HealthWatch {
  readonly #service: RegisteredService
  readonly #runs = new WeakMap<Target, { good: number; bad: number }>()
  #timer: NodeJS.Timeout | undefined
  #isAsking = false
  #isStopped = false

  constructor(service: RegisteredService) {
    this.#service = service
  }

  start(): void {
    const { health } = this.#service.row.spec
    if (!health) return
    this.#timer = setInterval(() => void this.#ask(), getDuration(health.every))
    this.#timer.unref()
    void this.#ask()
  }

  stop(): void {
    this.#isStopped = true
    clearInterval(this.#timer)
  }

  /** One round at a time: a round that takes long is not overtaken. */
  async #ask(): Promise<void> {
    const { health } = this.#service.row.spec
    if (!health || this.#isAsking) return
    this.#isAsking = true
    const timeoutMilliseconds = getDuration(health.timeout)
    await Promise.all(
      this.#service.upstream.targets.map(async (target) => {
        const answer = await askTarget(target, { path: health.path, timeoutMilliseconds })
        if (!this.#isStopped) this.#count(target, isHealthy(answer))
      }),
    )
    this.#isAsking = false
  }

  #count(target: Target, isGood: boolean): void {
    const { health } = this.#service.row.spec
    if (!health) return
    const run = this.#runs.get(target) ?? { good: 0, bad: 0 }
    const next = isGood ? { good: run.good + 1, bad: 0 } : { good: 0, bad: run.bad + 1 }
    this.#runs.set(target, next)
    if (next.good >= health.healthyAfter) target.isHealthy = true
    if (next.bad >= health.unhealthyAfter) target.isHealthy = false
  }
}

const isHealthy = ({ status }: HealthAnswer): boolean => status !== undefined && status >= 200 && status < 400

/** Asks once; never throws. */
export async function askTarget(
  target: Target,
  { path, timeoutMilliseconds }: { readonly path: string; readonly timeoutMilliseconds: number },
): Promise<HealthAnswer> {
  try {
    const { statusCode, body } = await target.dispatcher.request({
      origin: target.origin,
      path: `${target.basePath}${path}`,
      method: "GET",
      headers: { "user-agent": "signalbox" },
      signal: AbortSignal.timeout(timeoutMilliseconds),
    })
    await body.dump({ limit: bodyBytesMax })
    return { status: statusCode }
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) }
  }
}
