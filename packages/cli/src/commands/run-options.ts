import type { executionsCreate } from "@signalbox/contracts/workflows/operations"
import type { CallInputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { type Command, Option } from "commander"
import type { CommandContext } from "../command.ts"
import { readRecord, readScalar } from "../generated/field-option.ts"

type RunInput = CallInputOf<typeof executionsCreate>

/** Where to run and how fast: the same for `run` and `exec`. */
export function addRunOptions(command: Command): void {
  command
    .optionsGroup("Targets (exactly one kind):")
    .option("-t, --query <query>", "nodes whose tags match, as in role=web,env!=prod")
    .option("-n, --node <name>", "a node by name or id (repeatable)", collect)
    .option("-g, --group <name>", "the nodes of a group")
    .option("--all", "every node of the account")
    .optionsGroup("Pace:")
    .option("--concurrency <count|percent>", "nodes in flight at once")
    .option("--error-limit <count|percent>", "failures tolerated; one more stops the run")
    .option("--ramp", "begin with one node, then two, four and so on")
    .option("--wave <count|percent>", "nodes of each wave; the last size repeats (repeatable)", collect)
    .option("--bake <duration>", "waited after each wave")
    .option("--unavailable-limit <count|percent>", "nodes that may be unavailable at once")
    .option("--failure-domain <tag>", "never two nodes with the same value of this tag at once")
    .option("--window <name>", "a maintenance window: outside of all of them nothing starts (repeatable)", collect)
    .optionsGroup("Stopping and putting back:")
    .option("--strict", "in flight and failed never exceed the error limit by more than one")
    .option("--class-limit <class=count|percent>", "failures tolerated of one class (repeatable)", collect)
    .option("--error-rate <percent>", "failures among completed nodes that stop the run, once 10 have completed")
    .option("--error-sample <count>", "completed nodes before the rate counts", (text) =>
      wholeNumber(text, "--error-sample"),
    )
    .option("--count-unreachable", "unreachable nodes count as failures")
    .option("--stop-when <expression>", "a CEL expression over run.failed, run.completed and so on")
    .option("--health <url>", "asked again and again; three failures in a row stop the run")
    .addOption(
      new Option("--rollback <when>", "what is put back, where the run fails").choices(["never", "on-failure", "all"]),
    )
    .option("--rollback-concurrency <count|percent>", "nodes at once, where all are put back")
    .optionsGroup("Brake:")
    .addOption(
      new Option("--targets-max <count>", "needed where more than 100 nodes are touched").argParser((text: string) =>
        wholeNumber(text, "--targets-max"),
      ),
    )
    .option("--plan-digest <digest>", "run only what the plan with this digest showed")
    .optionsGroup("Options:")
    .option("--note <text>", "why, for the record")
}

export function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value]
}

function wholeNumber(text: string, flag: string): number {
  if (!/^\d{1,8}$/.test(text)) throw new AppError("cli.usage", `${flag} takes a whole number, not "${text}"`)
  return Number(text)
}

interface RunOptions {
  readonly query?: string
  readonly node?: string[]
  readonly group?: string
  readonly all?: true
  readonly targetsMax?: number
  readonly planDigest?: string
  readonly note?: string
}

interface StrategyOptions {
  readonly concurrency?: string
  readonly errorLimit?: string
  readonly ramp?: true
  readonly wave?: string[]
  readonly bake?: string
  readonly unavailableLimit?: string
  readonly failureDomain?: string
  readonly window?: string[]
  readonly strict?: true
  readonly classLimit?: string[]
  readonly errorRate?: string
  readonly errorSample?: number
  readonly countUnreachable?: true
  readonly stopWhen?: string
  readonly health?: string
  readonly rollback?: "never" | "on-failure" | "all"
  readonly rollbackConcurrency?: string
}

/** The members of the strategy that these options give. */
function readStrategy(options: StrategyOptions): Partial<RunInput> {
  const { wave, window: windows, classLimit, errorRate, errorSample, health } = options
  const { ramp, bake, failureDomain, strict, countUnreachable, stopWhen, rollback } = options
  const scalars = { concurrency: options.concurrency, errorLimit: options.errorLimit } as const
  const more = { unavailableLimit: options.unavailableLimit, rollbackConcurrency: options.rollbackConcurrency } as const
  const given = Object.entries({ ...scalars, ...more }).flatMap(([name, text]) =>
    text === undefined ? [] : [[name, readScalar(text)]],
  )
  if (errorSample !== undefined && errorRate === undefined)
    throw new AppError("cli.usage", "--error-sample goes with --error-rate")
  return {
    ...(Object.fromEntries(given) as Partial<RunInput>),
    ...defined({ ramp, bake, failureDomain, windows, strict, countUnreachable, stopWhen, rollback }),
    ...(wave === undefined ? {} : { waves: wave.map(readScalar) }),
    ...(classLimit === undefined ? {} : { errorLimits: readRecord(classLimit, "--class-limit") as never }),
    ...(errorRate === undefined
      ? {}
      : { errorRate: { limit: errorRate, ...(errorSample === undefined ? {} : { sample: errorSample }) } }),
    ...(health === undefined ? {} : { health: { http: { url: health } } }),
  }
}

function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never
}

/** The part of a run's input that these options give. @throws cli.usage unless there is exactly one kind of target */
export function readRunOptions(context: CommandContext): Omit<RunInput, "workflow" | "document" | "parameters"> {
  const { query, node: nodes, group, all, targetsMax, planDigest, note } = context.options as RunOptions
  const targets = {
    ...(query === undefined ? {} : { query }),
    ...(nodes === undefined ? {} : { nodes }),
    ...(group === undefined ? {} : { group }),
    ...(all === undefined ? {} : { all }),
  }
  if (Object.keys(targets).length !== 1) {
    throw new AppError(
      "cli.usage",
      "say where to run with exactly one of -t QUERY, --node NAME, --group NAME and --all",
    )
  }
  return {
    targets,
    ...readStrategy(context.options as StrategyOptions),
    ...(targetsMax === undefined ? {} : { targetsMax }),
    ...(planDigest === undefined ? {} : { planDigest }),
    ...(note === undefined ? {} : { note }),
  }
}
