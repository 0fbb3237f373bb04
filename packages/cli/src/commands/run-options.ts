import type { executionsCreate } from "@signalbox/contracts/workflows/operations"
import type { CallInputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { type Command, Option } from "commander"
import type { CommandContext } from "../command.ts"
import { readScalar } from "../generated/field-option.ts"

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
    .addOption(
      new Option("--targets-max <count>", "needed where more than 100 nodes are touched").argParser(wholeNumber),
    )
    .optionsGroup("Options:")
    .option("--note <text>", "why, for the record")
}

export function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value]
}

function wholeNumber(text: string): number {
  if (!/^\d{1,8}$/.test(text)) throw new AppError("cli.usage", `--targets-max takes a whole number, not "${text}"`)
  return Number(text)
}

interface RunOptions {
  readonly query?: string
  readonly node?: string[]
  readonly group?: string
  readonly all?: true
  readonly concurrency?: string
  readonly errorLimit?: string
  readonly targetsMax?: number
  readonly note?: string
}

/** The part of a run's input that these options give. @throws cli.usage unless there is exactly one kind of target */
export function readRunOptions(context: CommandContext): Omit<RunInput, "workflow" | "document" | "parameters"> {
  const { query, node: nodes, group, all, concurrency, errorLimit, targetsMax, note } = context.options as RunOptions
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
    ...(concurrency === undefined ? {} : { concurrency: readScalar(concurrency) }),
    ...(errorLimit === undefined ? {} : { errorLimit: readScalar(errorLimit) }),
    ...(targetsMax === undefined ? {} : { targetsMax }),
    ...(note === undefined ? {} : { note }),
  }
}
