/** What an approval step asks for, and how long it is waited for. Pure. */
import type { WorkflowDocument, WorkflowStep } from "@signalbox/contracts/workflows/document"
import type { ApprovalAsk } from "@signalbox/contracts/workflows/steps"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { getDuration } from "@signalbox/kernel/duration"
import { lateText, type LateValues } from "./late-text.ts"
import { textFiller, type ValueOf } from "./order-texts.ts"

export const approvalWaitLimits = {
  millisecondsDefault: 7 * 86_400_000,
  /** No timer of a node lies much further ahead. */
  millisecondsMax: 20 * 86_400_000,
} as const

/** Stands for the ordinal of what is asked once for all targets. */
export const sharedOrdinal = -1

/** How long a step waits for people; 0 of any other kind. It comes on top of the task's time. */
export function approvalWaitOf({ approval, timeout }: Pick<WorkflowStep, "approval" | "timeout">): number {
  if (approval === undefined) return 0
  return timeout === undefined ? approvalWaitLimits.millisecondsDefault : Math.max(1, getDuration(timeout))
}

/** Of all approval steps of a task together. */
export function approvalWaitsOf({ steps }: Pick<WorkflowDocument, "steps">): number {
  return steps.reduce((sum, step) => sum + approvalWaitOf(step), 0)
}

/** A run as those who vote have to know it. */
export interface AskedRun {
  readonly id: string
  readonly workflowName: string
  readonly workflowVersion: number | null
  readonly definition: unknown
  readonly parameters: unknown
  readonly strategy: unknown
  readonly parts: unknown
  readonly targetsText: string
  readonly targetsCount: number
  readonly targetsDigest: string | null
}

export interface AskedStep {
  readonly number: number
  readonly step: WorkflowStep
  readonly approval: ApprovalAsk
  /** Present where each target is asked for by itself. */
  readonly node?: { readonly id: string; readonly name: string }
  readonly valueOf: ValueOf
  readonly late: LateValues
}

export interface Asked {
  readonly title: string
  /** What is voted on. */
  readonly content: Readonly<Record<string, unknown>>
}

const titleLengthMax = 200

/** @param sha256 gives hexadecimal digits */
export function askOf(run: AskedRun, asked: AskedStep, sha256: (text: string) => string): Asked {
  const { approval, node, number } = asked
  const fill = (text: string): string => lateText(textFiller(text)(asked.valueOf), asked.late)
  const { definition, parameters, strategy, parts, targetsDigest } = run
  const name = asked.step.name ?? `step ${number}`
  const workflow =
    run.workflowVersion === null ? run.workflowName : `${run.workflowName}, version ${run.workflowVersion}`
  const targets = `${run.targetsCount}: ${run.targetsText}`
  const where = node?.name ?? targets
  const title = approval.title === undefined ? `${name} of ${run.workflowName} on ${where}` : fill(approval.title)
  const message = approval.message === undefined ? undefined : fill(approval.message)
  return {
    title: title.slice(0, titleLengthMax),
    content: {
      execution: run.id,
      plan: sha256(canonicalJson({ definition, parameters, strategy, parts, targets: targetsDigest })),
      workflow: { name: run.workflowName, ...(run.workflowVersion === null ? {} : { version: run.workflowVersion }) },
      step: { number, name },
      targets: { text: run.targetsText, count: run.targetsCount, digest: targetsDigest },
      ...(node && { node }),
      ...(message === undefined ? {} : { message }),
      facts: [
        ["Workflow", workflow],
        ["Step", `${name} (${number})`],
        ["Targets", targets],
        ...(node ? [["Node", node.name]] : []),
        ...(message === undefined ? [] : [["Message", message]]),
      ],
    },
  }
}
