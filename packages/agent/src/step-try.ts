import type { AttemptPhase, StepOrder, TaskOrder, Text } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError } from "@signalbox/kernel/app-error"
import type { AttemptContext } from "./attempt-context.ts"
import type { LiveOutput } from "./output-stream.ts"
import type { SecretMask } from "@signalbox/masking/secret-mask"
import type { TryResult } from "./try-result.ts"

/** What texts of an order are filled with on the node. */
export interface StepInputs {
  /** By name; never written down. */
  readonly secrets: Readonly<Record<string, string>>
  readonly mask: SecretMask
  /** Of the steps that ran, by step id and name. */
  readonly outputs: Readonly<Record<string, Readonly<Record<string, string>>>>
}

/** One try of one step, or of what undoes it. */
export interface StepTry {
  readonly context: AttemptContext
  readonly key: string
  readonly phase: AttemptPhase
  readonly index: number
  readonly step: StepOrder
  readonly inputs: StepInputs
  /** Counts from 1. */
  readonly number: number
  readonly timeoutMilliseconds: number
  readonly stop: AbortSignal
  readonly live: LiveOutput | undefined
}

export type PerformTry = (attempt: StepTry) => Promise<TryResult>

/** @throws agent.step-refused where a part isn't known */
export function fillText(text: Text, inputs: StepInputs): string {
  if (typeof text === "string") return text
  return text.map((part) => (typeof part === "string" ? part : fillPart(part, inputs))).join("")
}

function fillPart(
  part: Exclude<Exclude<Text, string>[number], string>,
  { secrets, outputs }: Pick<StepInputs, "secrets" | "outputs">,
): string {
  if ("secret" in part) {
    const value = Object.hasOwn(secrets, part.secret) ? secrets[part.secret] : undefined
    if (value !== undefined) return value
    const why = "the server did not send it, or the agent was restarted since: secrets are kept in memory alone"
    throw new AppError("agent.step-refused", `the secret "${part.secret}" is not known here (${why})`)
  }
  const given = Object.hasOwn(outputs, part.step) ? outputs[part.step] : undefined
  const value = given && Object.hasOwn(given, part.output) ? given[part.output] : undefined
  if (value !== undefined) return value
  const why = given ? "it gave no such output" : "it did not run"
  throw new AppError("agent.step-refused", `the output "${part.output}" of step "${part.step}" is not known: ${why}`)
}

/** Of a variable that only the undo needs: it tells the step's own output, which is not there before the step's end. */
export function isOwnOutput(text: Text, id: string | undefined): boolean {
  return typeof text !== "string" && text.some((part) => typeof part !== "string" && "step" in part && part.step === id)
}

/** Says before anything runs that a secret is missing. @throws agent.step-refused */
export function requireSecrets(order: TaskOrder, secrets: StepInputs["secrets"]): void {
  for (const name of secretsNamed(order.steps)) fillPart({ secret: name }, { secrets, outputs: {} })
}

/** Parts of texts stand in lists; an object elsewhere may have a member of that name. */
function* secretsNamed(value: unknown): Generator<string> {
  if (typeof value !== "object" || value === null) return
  for (const member of Object.values(value)) {
    const isPart = Array.isArray(value) && typeof member === "object" && member !== null && "secret" in member
    if (isPart && typeof member.secret === "string") yield member.secret
    else yield* secretsNamed(member)
  }
}
