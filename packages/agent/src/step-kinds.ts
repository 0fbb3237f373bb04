import { join } from "node:path"
import type { StepOrder } from "@signalbox/contracts/fleet/agent-protocol"
import type { StepBefore } from "./attempt.ts"
import { type AttemptContext, savedDirectory } from "./attempt-context.ts"
import { performFile } from "./file-step.ts"
import { saveFiles, type Restored, restoreFiles } from "./saved-files.ts"
import type { Prepared } from "./step-runner.ts"
import { performCommand } from "./step-process.ts"
import { fillText, isOwnOutput, type PerformTry, type StepInputs, type StepTry } from "./step-try.ts"
import { performWait } from "./wait-step.ts"

/** What a step does, how it is prepared, and how it is undone; undefined where this agent doesn't know its kind. */
export interface StepKind {
  readonly perform: PerformTry
  readonly prepare?: (attempt: StepTry) => Promise<Prepared>
}

export function findKind(step: StepOrder, isWhole: boolean): StepKind | undefined {
  const { command, file, service, wait, playbook, server } = step
  if (command) return { perform: (attempt) => performCommand(attempt, command) }
  if (file) {
    const perform: PerformTry = (attempt) => performFile(attempt, file)
    const isShallow = file.absent === undefined
    const prepare = (attempt: StepTry) => saveBefore(attempt, { paths: [file.path], isShallow })
    return isWhole ? { perform } : { perform, prepare }
  }
  if (wait) return { perform: (attempt) => performWait(attempt, wait) }
  if (service) {
    return {
      // Loaded by the first task that has such a step, as below.
      perform: async (attempt) => (await import("./service-step.ts")).performService(attempt, service),
      prepare: async (attempt) => {
        const { linksOf, readService } = await import("./service-step.ts")
        const state = await readService(attempt, service)
        const saved = isWhole ? {} : await saveBefore(attempt, { paths: await linksOf(attempt, service) })
        return { ...saved, before: { service: state } }
      },
    }
  }
  if (playbook) {
    return { perform: async (attempt) => (await import("./playbook-step.ts")).performPlaybook(attempt, playbook) }
  }
  if (server) return { perform: (attempt) => attempt.context.serverSteps.perform(attempt) }
  return undefined
}

export interface StepUndo {
  readonly perform: PerformTry
  /** True where doing it twice is as doing it once, so that a crash in it leaves no doubt. */
  readonly isRepeatable: boolean
}

/** How a step that was begun is undone, beside the files that were saved before it. */
export function findUndo(step: StepOrder, before: StepBefore | undefined): StepUndo | undefined {
  const { undo, service } = step
  const state = before?.service
  if (undo && "server" in undo) {
    return { perform: (attempt) => attempt.context.serverSteps.perform(attempt), isRepeatable: false }
  }
  if (undo && "playbook" in undo) {
    const { playbook } = undo
    const perform: PerformTry = async (attempt) =>
      (await import("./playbook-step.ts")).performPlaybook(attempt, playbook)
    return { perform, isRepeatable: false }
  }
  if (undo) return { perform: (attempt) => performCommand(attempt, undo), isRepeatable: false }
  if (!service || !state) return undefined
  return {
    perform: async (attempt) => (await import("./service-step.ts")).undoService(attempt, service, state),
    isRepeatable: true,
  }
}

/** A wait for people: it changes nothing, and no process has to live through it. */
export function isApproval({ server }: StepOrder): boolean {
  return server === "approval"
}

/** True where a rollback need not look at what the step changed, as it puts it back by itself or changes nothing. */
export function isCovered(step: StepOrder): boolean {
  return isApproval(step) || (step.file ?? step.service ?? step.wait ?? step.undo) !== undefined
}

function stepDirectory(context: AttemptContext, key: string, index: number): string {
  return join(savedDirectory(context, key), `step-${index}`)
}

async function saveBefore(
  { context, key, index, stop }: StepTry,
  { paths, isShallow = false }: { paths: readonly string[]; isShallow?: boolean },
): Promise<Prepared> {
  const { root, dataDirectory, limits } = context
  const into = stepDirectory(context, key, index)
  const savedBytes = await saveFiles({ root, dataDirectory, into, paths, isShallow, limits, stop })
  return { savedBytes }
}

/** Puts back what was saved before a step; undefined where nothing was. */
export async function restoreStep(context: AttemptContext, key: string, index: number): Promise<Restored | undefined> {
  return await restoreFiles(stepDirectory(context, key, index))
}

/**
 * Fills every text of a step once, to see that all parts are known before anything runs.
 *
 * @throws agent.step-refused
 */
export function requireTexts(step: StepOrder, inputs: StepInputs): void {
  const { command, file, wait, playbook } = step
  if (command && "argv" in command) for (const word of command.argv) fillText(word, inputs)
  if (file?.content !== undefined) fillText(file.content, inputs)
  if (wait && "port" in wait) fillText(wait.port, inputs)
  for (const value of Object.values(playbook?.variables ?? {})) {
    if (typeof value === "string" || Array.isArray(value)) fillText(value, inputs)
  }
  for (const text of Object.values(step.environment)) {
    if (!isOwnOutput(text, step.id)) fillText(text, inputs)
  }
}
