import { metricLimits, type MetricSample, type MetricWatch } from "@signalbox/contracts/fleet/metrics"
import { AppError } from "@signalbox/kernel/app-error"
import { errorText } from "./agent-logger.ts"
import type { AttemptContext } from "./attempt-context.ts"
import { drawFraction } from "./backoff.ts"
import { runCommand } from "./command-runner.ts"
import type { OrderRefusal } from "./policy-file.ts"
import { baseEnvironment, findProcessOwner } from "./process-owner.ts"
import { resolveDirectoryInRoot, resolveInRoot } from "./root-path.ts"
import { diskPercent, loadAverage, memoryPercent } from "./system-figures.ts"

type Metric = MetricWatch["metric"]
type CommandMetric = Extract<Metric, { kind: "command" }>

export interface JudgedCommand {
  readonly id: string
  readonly command: { readonly shell: string }
  readonly timeoutMilliseconds: number
  readonly stop: AbortSignal
}

/** What differs from one interval to the next, as a share of it: nodes that were told at once drift apart. */
const jitterShare = 0.1
const outputKeptBytes = 1024

/**
 * Measures what the server asked for in this session, and nothing where it asked for nothing. Owns one timer for each
 * interval; what comes due together goes in one frame. Samples are never kept: one that can't be sent is lost.
 */
export class MetricSampler {
  readonly #context: AttemptContext
  readonly #refuses: (command: JudgedCommand) => Promise<OrderRefusal | undefined>
  readonly #systemRoot: string
  /** Of what is watched now; aborted when something else is. */
  #watching = new AbortController()
  readonly #running = new Set<Promise<void>>()
  #commands = 0

  constructor(
    context: AttemptContext,
    refuses: (command: JudgedCommand) => Promise<OrderRefusal | undefined>,
    systemRoot: string,
  ) {
    this.#context = context
    this.#refuses = refuses
    this.#systemRoot = systemRoot
  }

  /** Takes the place of what was watched before. */
  watch(watches: readonly MetricWatch[]): void {
    this.#watching.abort()
    this.#watching = new AbortController()
    for (const [every, group] of Map.groupBy(watches, (watch) => watch.everyMilliseconds))
      this.#measureEvery(every, group, this.#watching.signal)
  }

  async stop(): Promise<void> {
    this.#watching.abort()
    await Promise.all(this.#running)
  }

  /** The first time comes at a random moment of the first interval. The next is reckoned from the end of one. */
  #measureEvery(every: number, group: readonly MetricWatch[], stop: AbortSignal): void {
    const { random } = this.#context
    let timer: NodeJS.Timeout | undefined
    const later = (milliseconds: number): void => {
      timer = setTimeout(() => {
        const running = this.#measure(group, stop).finally(() => {
          this.#running.delete(running)
          if (!stop.aborted) later(every * (1 - jitterShare / 2 + drawFraction(random) * jitterShare))
        })
        this.#running.add(running)
      }, milliseconds)
    }
    stop.addEventListener("abort", () => clearTimeout(timer), { once: true })
    later(every * drawFraction(random))
  }

  async #measure(group: readonly MetricWatch[], stop: AbortSignal): Promise<void> {
    const samples = await Promise.all(group.map((watch) => this.#sample(watch, stop)))
    if (!stop.aborted) this.#context.send({ type: "metrics", samples })
  }

  async #sample({ id, metric }: MetricWatch, stop: AbortSignal): Promise<MetricSample> {
    try {
      const value = await this.#valueOf(id, metric, stop)
      if (!Number.isFinite(value)) throw new Error("there is no number")
      return { id, value }
    } catch (error) {
      return { id, problem: `not available: ${errorText(error)}`.slice(0, metricLimits.problemLengthMax) }
    }
  }

  async #valueOf(id: string, metric: Metric, stop: AbortSignal): Promise<number> {
    switch (metric.kind) {
      case "load":
        return await loadAverage(this.#systemRoot)
      case "memory":
        return await memoryPercent(this.#systemRoot)
      case "disk":
        return await diskPercent(await this.#place(metric.path))
      case "command":
        return await this.#runBounded(id, metric, stop)
    }
  }

  /** A directory's own links are followed, as those above it are; never out of the root. */
  async #place(path: string): Promise<string> {
    const { root } = this.#context
    return await resolveDirectoryInRoot(root, path).catch(() => resolveInRoot(root, path))
  }

  async #runBounded(id: string, metric: CommandMetric, stop: AbortSignal): Promise<number> {
    const { limits } = this.#context
    if (this.#commands >= limits.metricCommandsMax)
      throw new Error(`${this.#commands} commands of metrics run on this node already`)
    this.#commands += 1
    try {
      return await this.#run(id, metric, stop)
    } finally {
      this.#commands -= 1
    }
  }

  async #run(id: string, metric: CommandMetric, stop: AbortSignal): Promise<number> {
    const { root, limits } = this.#context
    const { timeoutMilliseconds } = metric
    const command = { shell: metric.command }
    const refusal = await this.#refuses({ id, command, timeoutMilliseconds, stop })
    if (refusal) throw new AppError("agent.step-refused", refusal.message)
    const { state, stdout, stderr, exitCode, message } = await runCommand({
      ...{ command, timeoutMilliseconds, outputKeptBytes, stop, limits },
      environment: baseEnvironment(root, await findProcessOwner(undefined)),
      directory: root,
    })
    if (state !== "succeeded") {
      const said = stderr.head.trim() || message || ""
      throw new Error(`the command ${state}${exitCode === undefined ? "" : ` with ${exitCode}`}: ${said}`)
    }
    return parseNumber(stdout.head)
  }
}

/** The first line of a command's output. */
export function parseNumber(output: string): number {
  const line = output.split("\n", 1)[0]?.trim() ?? ""
  const value = line === "" ? Number.NaN : Number(line)
  if (!Number.isFinite(value)) throw new Error(`the command printed no number: ${JSON.stringify(line.slice(0, 60))}`)
  return value
}
