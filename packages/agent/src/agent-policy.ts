import type { CommandOrder, StepOrder, TaskOrder } from "@signalbox/contracts/fleet/agent-protocol"
import { approvalTrust } from "@signalbox/contracts/approvals/signed-votes"
import { findDuration } from "@signalbox/kernel/duration"
import { z } from "zod"

/**
 * The local policy of an agent: what its machine's owner lets any server order. It only narrows. Each rule that is left
 * out allows everything of its sort; a rule that is there allows what it lists and nothing else.
 */
export const policyStepKinds = ["command", "file", "service", "wait", "playbook", "server", "probe"] as const

const listMax = 1000
const names = (length: number) => z.array(z.string().min(1).max(length)).max(listMax)

export const agentPolicy = z
  .strictObject({
    steps: z.array(z.enum(policyStepKinds)).max(policyStepKinds.length).optional(),
    users: names(64).optional(),
    paths: names(4096)
      .refine((paths) => paths.every((path) => path.startsWith("/") && !hasUpwards(path)), "write absolute paths")
      .optional(),
    services: names(256).optional(),
    commands: z
      .strictObject({
        programs: names(4096).default([]),
        shells: z
          .array(z.string().regex(/^sha256:[0-9a-f]{64}$/, "write sha256: and the digest of the whole text"))
          .max(listMax)
          .default([]),
        environment: names(128).default([]),
      })
      .optional(),
    durationMax: z
      .string()
      .refine((text) => findDuration(text) !== undefined, "write a duration such as 10m")
      .optional(),
    approvals: approvalTrust
      .refine(
        ({ keys, quorum }) => new Set(keys.map(({ member }) => member)).size >= quorum,
        "the keys are of fewer members than the quorum",
      )
      .optional(),
  })
  .describe("What this machine's agent accepts")

export type AgentPolicy = z.output<typeof agentPolicy>

/** Why an order is refused: the rule by its name in the file, and what was outside it. */
export interface PolicyRefusal {
  readonly rule: keyof AgentPolicy
  readonly message: string
}

export interface PolicyFacts {
  /** Whom a step without a user runs as. */
  readonly agentUser: string
  /** SHA-256 in hex. */
  readonly digest: (text: string) => string
}

/** The first rule that an order breaks; undefined where it is within all of them. Pure. */
export function decide(policy: AgentPolicy, order: TaskOrder, facts: PolicyFacts): PolicyRefusal | undefined {
  for (const path of order.save) {
    const refusal = judgePath(policy, path)
    if (refusal) return refusal
  }
  if (order.whole && policy.paths && !policy.paths.includes("/"))
    return { rule: "paths", message: "the order saves the whole root" }
  const longest = Math.max(order.timeoutMilliseconds, ...order.steps.map(workMilliseconds))
  const tooLong = judgeDuration(policy, longest)
  if (tooLong) return tooLong
  for (const step of order.steps) {
    const refusal = judgeStep(policy, step, facts)
    if (refusal) return { ...refusal, message: `step "${step.name}": ${refusal.message}` }
  }
  return undefined
}

/** While people are waited for, nothing runs here. */
const workMilliseconds = (step: StepOrder): number => (step.server === "approval" ? 0 : step.timeoutMilliseconds)

/** As `decide`, for a health check's command. */
export function decideProbe(
  policy: AgentPolicy,
  probe: { readonly command: CommandOrder; readonly timeoutMilliseconds: number },
  facts: PolicyFacts,
): PolicyRefusal | undefined {
  return (
    judgeKind(policy, "probe") ??
    judgeUser(policy, undefined, facts) ??
    judgeDuration(policy, probe.timeoutMilliseconds) ??
    judgeCommand(policy, probe.command, facts)
  )
}

/** The paths that an order changes or keeps, for a look at where their links lead. */
export function pathsOf(order: TaskOrder): string[] {
  return [...order.save, ...order.steps.flatMap(({ file }) => (file ? [file.path] : []))]
}

/** @param path relative to the agent's root, with or without a slash before it */
export function judgePath({ paths }: AgentPolicy, path: string): PolicyRefusal | undefined {
  if (!paths) return undefined
  const wanted = partsOf(path)
  const isWithin = (allowed: string) => partsOf(allowed).every((part, index) => wanted[index] === part)
  if (!wanted.includes("..") && paths.some(isWithin)) return undefined
  return { rule: "paths", message: `the path /${wanted.join("/")} is outside the allowed ones` }
}

function judgeStep(policy: AgentPolicy, step: StepOrder, facts: PolicyFacts): PolicyRefusal | undefined {
  const { command, file, service, playbook, undo } = step
  const processUsed = command !== undefined || playbook !== undefined || undo !== undefined
  return (
    judgeKind(policy, kindOf(step)) ??
    (processUsed ? (judgeUser(policy, step.user, facts) ?? judgeEnvironment(policy, step.environment)) : undefined) ??
    (command && judgeCommand(policy, command, facts)) ??
    (file && judgeFile(policy, file)) ??
    (service && judgeService(policy, service.name)) ??
    (playbook && judgePlaybook(policy)) ??
    (undo && judgeUndo(policy, undo, facts))
  )
}

/** A kind that this agent doesn't know is none that a policy lists. */
function kindOf(step: StepOrder): (typeof policyStepKinds)[number] | "unknown" {
  return policyStepKinds.find((kind) => kind !== "probe" && step[kind] !== undefined) ?? "unknown"
}

function judgeKind({ steps }: AgentPolicy, kind: ReturnType<typeof kindOf>): PolicyRefusal | undefined {
  if (!steps || (kind !== "unknown" && steps.includes(kind))) return undefined
  return { rule: "steps", message: `steps of the kind ${kind} are not allowed` }
}

function judgeUser(
  { users }: AgentPolicy,
  user: string | undefined,
  { agentUser }: PolicyFacts,
): PolicyRefusal | undefined {
  const name = user ?? agentUser
  return !users || users.includes(name) ? undefined : { rule: "users", message: `the user ${name} is not allowed` }
}

/** Variables can turn an allowed program into another one (PATH, LD_PRELOAD), so they are listed like programs. */
function judgeEnvironment({ commands }: AgentPolicy, environment: StepOrder["environment"]): PolicyRefusal | undefined {
  const outside = Object.keys(environment).find((name) => commands && !commands.environment.includes(name))
  return outside === undefined ? undefined : { rule: "commands", message: `the variable ${outside} is not allowed` }
}

function judgeCommand({ commands }: AgentPolicy, command: CommandOrder, facts: PolicyFacts): PolicyRefusal | undefined {
  if (!commands) return undefined
  if ("shell" in command) {
    const digest = `sha256:${facts.digest(command.shell)}`
    if (commands.shells.includes(digest)) return undefined
    return { rule: "commands", message: `the shell text with the digest ${digest} is not allowed` }
  }
  const program = command.argv[0]
  if (typeof program === "string" && commands.programs.includes(program)) return undefined
  const shown = typeof program === "string" ? program : "that is only known later"
  return { rule: "commands", message: `the program ${shown} is not allowed` }
}

function judgeFile(policy: AgentPolicy, file: NonNullable<StepOrder["file"]>): PolicyRefusal | undefined {
  if (policy.users && ((file.mode ?? 0) & 0o6000) !== 0)
    return { rule: "users", message: "a file that lends its owner's rights (set-user-id, set-group-id) is not allowed" }
  return judgePath(policy, file.path)
}

function judgeService({ services }: AgentPolicy, name: string): PolicyRefusal | undefined {
  if (!services || services.includes(name)) return undefined
  return { rule: "services", message: `the service ${name} is not allowed` }
}

/** A playbook can do anything: where something is narrowed, it has to be allowed by name. */
function judgePlaybook(policy: AgentPolicy): PolicyRefusal | undefined {
  const isNarrowed = policy.commands ?? policy.paths ?? policy.services
  if (!isNarrowed || policy.steps?.includes("playbook") === true) return undefined
  return { rule: "steps", message: "a playbook is outside the other rules; list it under `steps` to allow it" }
}

function judgeUndo(policy: AgentPolicy, undo: NonNullable<StepOrder["undo"]>, facts: PolicyFacts) {
  if ("server" in undo) return judgeKind(policy, "server")
  if ("playbook" in undo) return judgeKind(policy, "playbook") ?? judgePlaybook(policy)
  return judgeKind(policy, "command") ?? judgeCommand(policy, undo, facts)
}

function judgeDuration({ durationMax }: AgentPolicy, milliseconds: number): PolicyRefusal | undefined {
  const most = durationMax === undefined ? undefined : findDuration(durationMax)
  if (most === undefined || milliseconds <= most) return undefined
  return { rule: "durationMax", message: `${milliseconds} ms is longer than ${durationMax}` }
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".")
}

function hasUpwards(path: string): boolean {
  return partsOf(path).includes("..")
}
