import type { CommandOrder } from "@signalbox/contracts/fleet/agent-protocol"
import { errorText } from "./agent-logger.ts"
import { type CommandResult, type CommandWords, runCommand } from "./command-runner.ts"
import { attemptMarker, identifyProcess } from "./process-identity.ts"
import { baseEnvironment, findProcessOwner, type ProcessOwner } from "./process-owner.ts"
import { resolveDirectoryInRoot } from "./root-path.ts"
import { fillText, isOwnOutput, type StepTry } from "./step-try.ts"
import type { TryResult } from "./try-result.ts"
import { makeWorkPlace, outputFileOf, putWorkFile, readOutputFile, removeWorkPlace } from "./output-file.ts"

/** Where a process of a step runs, and what it finds there. */
export interface ProcessPlace {
  readonly owner: ProcessOwner
  /** Beside the step's own variables. */
  readonly environment?: Readonly<Record<string, string>>
}

/** Runs a process for a step: as its user, in its directory, with its environment, its output masked. */
export async function runProcess(
  attempt: StepTry,
  command: CommandWords,
  { owner, environment }: ProcessPlace,
): Promise<CommandResult> {
  const { context, step, inputs, live } = attempt
  return await runCommand({
    command,
    environment: {
      ...baseEnvironment(context.root, owner),
      ...ownVariables(attempt),
      ...environment,
      SIGNALBOX_ROOT: context.root,
      [attemptMarker]: `${attempt.key}/${attempt.phase}/${attempt.index}`,
    },
    directory: await resolveDirectoryInRoot(context.root, step.directory ?? ""),
    ...(owner.change && { owner: owner.change }),
    timeoutMilliseconds: attempt.timeoutMilliseconds,
    outputKeptBytes: step.outputKeptBytes,
    stop: attempt.stop,
    limits: context.limits,
    mask: inputs.mask,
    onProcess: (pid) => noteProcess(attempt, pid),
    ...(live && { onOutput: (stream, chunk) => live.write(stream, chunk) }),
  })
}

function ownVariables({ step, phase, inputs }: StepTry): Record<string, string> {
  const known = Object.entries(step.environment).filter(
    ([, text]) => phase === "rollback" || !isOwnOutput(text, step.id),
  )
  return Object.fromEntries(known.map(([name, text]) => [name, fillText(text, inputs)]))
}

/** Not synced: after a crash of the machine there is no process to look for. */
function noteProcess({ context, key }: StepTry, pid: number): void {
  context.journal
    .append(key, { type: "process", process: identifyProcess(pid) }, { volatile: true })
    .catch((error: unknown) => {
      context.logger.warn("could not note a step's process", { key, error: errorText(error) })
    })
}

/** A command step, or a command that undoes a step: its outputs are what it writes to $SIGNALBOX_OUTPUT. */
export async function performCommand(attempt: StepTry, command: CommandOrder): Promise<TryResult> {
  const { inputs, step } = attempt
  const words: CommandWords =
    "shell" in command ? command : { argv: command.argv.map((word) => fillText(word, inputs)) }
  const owner = await findProcessOwner(step.user)
  const place = makeWorkPlace(attempt, owner)
  try {
    const outputFile = outputFileOf(place)
    putWorkFile(outputFile, "", owner)
    const result = await runProcess(attempt, words, { owner, environment: { SIGNALBOX_OUTPUT: outputFile } })
    if (result.state !== "succeeded") return result
    try {
      return { ...result, values: readOutputFile(outputFile) }
    } catch (error) {
      return { ...result, state: "failed", message: errorText(error) }
    }
  } finally {
    await removeWorkPlace(place)
  }
}
