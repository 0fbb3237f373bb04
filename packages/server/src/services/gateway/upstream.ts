/**
 * The base URLs of one service on this server. Owns a pool of connections, a circuit and a count of calls under way for each.
 * A circuit opens after so many failures in a row; after a while one call tries the base URL again.
 */
import { gatewayLimits } from "@signalbox/contracts/gateway/operations"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { circuitBreaker, CircuitState, ConsecutiveBreaker, handleWhen, type CircuitBreakerPolicy } from "cockatiel"
import type { OpenPool } from "../../egress/guarded-pool.ts"
import type { Upstream, UpstreamAttempt, UpstreamTarget } from "../../router/external-ports.ts"

export interface TargetOptions {
  readonly url: string
  readonly weight: number
  readonly pool: OpenPool
  readonly failuresMax: number
  readonly openMilliseconds: number
}

const failed = new Error("the call failed")

export class Target implements UpstreamTarget {
  readonly url: string
  readonly origin: string
  readonly host: string
  readonly basePath: string
  readonly dispatcher: UpstreamTarget["dispatcher"]
  readonly weight: number
  readonly pool: OpenPool
  pending = 0
  /** What active health checks say; true where there are none. */
  isHealthy = true
  readonly #breaker: CircuitBreakerPolicy
  /** Whether the circuit may know of failures that no good call has followed yet. */
  #hasFailed = false

  constructor({ url, weight, pool, failuresMax, openMilliseconds }: TargetOptions) {
    const { origin, host, pathname } = new URL(url)
    this.url = url
    this.origin = origin
    this.host = host
    this.basePath = pathname.replace(/\/$/, "")
    this.weight = weight
    this.pool = pool
    this.dispatcher = pool.dispatcher
    this.#breaker = circuitBreaker(
      handleWhen((error) => error === failed),
      {
        halfOpenAfter: openMilliseconds,
        breaker: new ConsecutiveBreaker(failuresMax),
      },
    )
  }

  get state(): "healthy" | "unhealthy" | "circuit-open" {
    if (!this.isHealthy) return "unhealthy"
    return this.#breaker.state === CircuitState.Closed ? "healthy" : "circuit-open"
  }

  get isFull(): boolean {
    return this.pending >= gatewayLimits.pendingMax
  }

  /** Undefined where the circuit lets no call through now. */
  begin(): UpstreamAttempt | undefined {
    switch (this.#breaker.state) {
      case CircuitState.Closed:
        this.pending++
        return new PassedAttempt(this)
      case CircuitState.HalfOpen:
        // While one call tries it, others don't wait for what comes of it.
        return undefined
      default:
        return this.#tryAgain()
    }
  }

  /** What came of a call that the closed circuit let through. It is told only failures, and what ends a row of them. */
  tell(outcome: "good" | "failed"): void {
    // What ends late says nothing to a circuit that was opened meanwhile.
    if (this.#breaker.state !== CircuitState.Closed || (outcome === "good" && !this.#hasFailed)) return
    this.#hasFailed = outcome === "failed"
    this.#breaker
      .execute(() => (outcome === "failed" ? Promise.reject(failed) : Promise.resolve()))
      .catch(() => undefined)
  }

  #tryAgain(): UpstreamAttempt | undefined {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    let isAdmitted = false
    this.#breaker
      .execute(() => {
        isAdmitted = true
        return promise
      })
      .catch(() => undefined)
    if (!isAdmitted) return undefined
    this.pending++
    let isOver = false
    return {
      target: this,
      judge: (outcome) => (outcome === "good" ? resolve() : reject(failed)),
      end: () => {
        assert(!isOver, "a call to a base URL ends once")
        isOver = true
        this.pending--
        // One that was to try the base URL and was given up tried nothing.
        reject(failed)
      },
    }
  }
}

class PassedAttempt implements UpstreamAttempt {
  readonly target: Target
  #isJudged = false
  #isOver = false

  constructor(target: Target) {
    this.target = target
  }

  judge(outcome: "good" | "failed"): void {
    if (this.#isJudged || this.#isOver) return
    this.#isJudged = true
    this.target.tell(outcome)
  }

  end(): void {
    assert(!this.#isOver, "a call to a base URL ends once")
    this.#isOver = true
    this.target.pending--
  }
}

export class ServiceUpstream implements Upstream {
  readonly service: string
  readonly targets: readonly Target[]
  readonly #balance: "least-pending" | "round-robin"
  /** Of smooth weighted round robin: who waited longest for its share is next. */
  readonly #shares: number[]
  #turn = 0

  constructor(service: string, targets: readonly Target[], balance: "least-pending" | "round-robin") {
    this.service = service
    this.targets = targets
    this.#balance = balance
    this.#shares = targets.map(() => 0)
  }

  begin(tried: readonly UpstreamTarget[]): UpstreamAttempt {
    const untried = tried.length === 0 ? this.targets : this.targets.filter((target) => !tried.includes(target))
    return this.#beginAmong(untried) ?? this.#beginAmong(this.targets) ?? this.#refuse()
  }

  #beginAmong(targets: readonly Target[]): UpstreamAttempt | undefined {
    const [only] = targets
    if (only && targets.length === 1) return only.isHealthy && !only.isFull ? only.begin() : undefined
    let left = targets.filter((target) => target.isHealthy && !target.isFull)
    while (left.length > 0) {
      const chosen = this.#choose(left)
      const attempt = chosen.begin()
      if (attempt) return attempt
      left = left.filter((target) => target !== chosen)
    }
    return undefined
  }

  #choose(targets: readonly Target[]): Target {
    return this.#balance === "least-pending" ? this.#leastPending(targets) : this.#nextInTurn(targets)
  }

  #leastPending(targets: readonly Target[]): Target {
    const start = this.#turn++ % targets.length
    let best: Target | undefined
    for (let step = 0; step < targets.length; step++) {
      const target = targets[(start + step) % targets.length]
      if (target && (!best || target.pending / target.weight < best.pending / best.weight)) best = target
    }
    assert(best, "there is a base URL to choose from")
    return best
  }

  #nextInTurn(targets: readonly Target[]): Target {
    let best: number | undefined
    let total = 0
    for (const target of targets) {
      const index = this.targets.indexOf(target)
      total += target.weight
      const share = (this.#shares[index] ?? 0) + target.weight
      this.#shares[index] = share
      if (best === undefined || share > (this.#shares[best] ?? 0)) best = index
    }
    const chosen = best === undefined ? undefined : this.targets[best]
    assert(chosen && best !== undefined, "there is a base URL to choose from")
    this.#shares[best] = (this.#shares[best] ?? 0) - total
    return chosen
  }

  #refuse(): never {
    if (this.targets.some((target) => target.isFull && target.isHealthy))
      throw new AppError(
        "gateway.overloaded",
        `${gatewayLimits.pendingMax} calls to a base URL of ${this.service} are under way`,
      )
    throw new AppError("gateway.circuit-open", `no base URL of ${this.service} takes calls now`)
  }
}
