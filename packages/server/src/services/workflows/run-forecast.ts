/** What a run would do (W12), from what was resolved. Pure. */
import { createHash } from "node:crypto"
import type { StepOrder, Text } from "@signalbox/contracts/fleet/agent-protocol"
import type { OutputOf } from "@signalbox/contracts/operation"
import type { executionsPlan } from "@signalbox/contracts/workflows/operations"
import { getStepKind, type WorkflowStep } from "@signalbox/contracts/workflows/steps"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { toInstant } from "@signalbox/kernel/clock"
import { formatDuration, getDuration } from "@signalbox/kernel/duration"
import type { WindowsAnswer } from "../../router/ports.ts"
import { approvalWaitsOf } from "./approval-ask.ts"
import { chooseLimits } from "./limit-choice.ts"
import { graceMilliseconds } from "./model.ts"
import { digestOf, pickTags } from "./planning.ts"
import type { Prepared } from "./run-preparation.ts"
import { summarizeStrategy } from "./strategy-summary.ts"
import { orderByDomain } from "./target-order.ts"
import type { TargetNode } from "./target-source.ts"

export type PlannedRun = OutputOf<typeof executionsPlan>

export interface ForecastInput {
  readonly run: Prepared
  readonly targetsText: string
  /** So many targets are spelled out. */
  readonly sample: number
  readonly windows: WindowsAnswer | undefined
}

export function planRun({ run, targetsText, sample, windows }: ForecastInput): PlannedRun {
  const { document, strategy, targetsCount, targetsMax, parameters, version } = run
  const nodes = run.nodes ?? []
  const { failureDomain } = strategy
  const order = failureDomain === undefined ? undefined : orderByDomain(nodes, failureDomain)
  const limits = chooseLimits(strategy, targetsCount)
  const steps = document.steps.map(describeStep)
  const summary = summarizeStrategy(strategy, { targetsCount, isRollback: false })
  const fixed = {
    workflow: { name: document.name, digest: run.digest, ...(version === undefined ? {} : { version }) },
    parameters: { ...parameters },
    targets: { text: targetsText, count: targetsCount, digest: digestOf(nodes) },
    blastRadius: { verdict: targetsCount > targetsMax ? ("exceeded" as const) : ("within" as const), targetsMax },
    ...limits,
    strategy: summary,
    ...(order && {
      domains: {
        tag: failureDomain ?? "",
        count: order.domainsCount,
        largest: order.largest,
        withoutTag: order.withoutTag,
      },
    }),
    ...partsOf(run),
    steps,
    approvals: run.approvals.map(({ step, approval, preview }) => ({
      ...{ step, template: preview.name, version: preview.version, scope: approval.scope },
      groups: Object.fromEntries(preview.levels.map(({ name, group }) => [name, group])),
    })),
    rollback: {
      when: strategy.rollback,
      saved: document.save,
      notCovered: steps.filter(({ undo }) => undo === "none").map(({ name }) => name),
    },
    durationMax: durationMax(run, { width: limits.width, largest: order?.largest ?? 0 }),
  }
  const planDigest = createHash("sha256").update(canonicalJson(fixed)).digest("hex")
  const first = (order?.nodes ?? nodes).slice(0, sample)
  return {
    ...fixed,
    ...(windows && { windows: describeWindows(windows) }),
    ...(run.approvals.length > 0 && { asked: run.approvals.flatMap(describeAsked) }),
    sample: first.map((node) => sampleOf(run, node)),
    planDigest,
  }
}

function describeAsked({ step, preview }: Prepared["approvals"][number]): NonNullable<PlannedRun["asked"]> {
  return preview.levels.map(({ name, strategy, members }) => ({ step, level: name, strategy, members }))
}

function partsOf({ parts }: Prepared): Pick<PlannedRun, "secrets" | "artifacts"> {
  const artifacts = Object.entries(parts.artifacts).map(([text, { digest }]) => [text, digest] as const)
  return { secrets: { ...parts.secrets }, artifacts: Object.fromEntries(artifacts) }
}

function describeWindows({ open, name, changesAt }: WindowsAnswer): NonNullable<PlannedRun["windows"]> {
  return {
    open,
    ...(name === null ? {} : { name }),
    ...(changesAt === null ? {} : { changesAt: toInstant(changesAt) }),
  }
}

function describeStep(step: WorkflowStep, index: number): PlannedRun["steps"][number] {
  const kind = getStepKind(step)
  // Files and services undo themselves; a wait, an approval and a call that only reads change nothing.
  const harmless =
    kind === "wait" ||
    kind === "approval" ||
    (kind === "http" && (step.http?.method === "GET" || step.http?.method === "HEAD"))
  const restored = kind === "file" || kind === "service" || harmless
  const undo = step.undo !== undefined ? "command" : restored ? "restored" : "none"
  return { name: step.name ?? `step ${index + 1}`, kind, undo }
}

/** Waves one after another, each in rounds of its width, every task as long as it may, with a rollback after it. */
function durationMax({ document, strategy, targetsCount }: Prepared, at: { width: number; largest: number }): string {
  const waves = summarizeStrategy(strategy, { targetsCount, isRollback: false })
  const sizes = waves.waves ?? [targetsCount]
  const rounds = sizes.reduce((sum, size) => sum + Math.ceil(size / at.width), 0)
  const more = Math.max(0, waves.wavesCount - sizes.length) * Math.ceil((sizes.at(-1) ?? 0) / at.width)
  const taskMilliseconds =
    getDuration(document.startTimeout) + getDuration(document.timeout) + approvalWaitsOf(document) + graceMilliseconds
  const attempts = document.retry?.attempts ?? 1
  const bakes = (waves.wavesCount - 1) * (strategy.bake === undefined ? 0 : getDuration(strategy.bake))
  return formatDuration(Math.max(rounds + more, at.largest) * taskMilliseconds * attempts + bakes)
}

function sampleOf({ builder }: Prepared, node: TargetNode): PlannedRun["sample"][number] {
  const order = builder.build({ id: node.id, name: node.name, tags: pickTags(node, builder) ?? null })
  const steps = order.steps.map((step) => ({ name: step.name, does: shownText(doingOf(step)) }))
  return { node: node.id, nodeName: node.name, steps }
}

const shownLengthMax = 500
const shownText = (text: string): string => (text.length > shownLengthMax ? `${text.slice(0, shownLengthMax)}…` : text)

/** Secrets are never shown, outputs of earlier steps aren't known yet. */
function plain(text: Text): string {
  if (typeof text === "string") return text
  return text
    .map((part) => (typeof part === "string" ? part : "secret" in part ? "***" : `<${part.step}.${part.output}>`))
    .join("")
}

function doingOf(step: StepOrder): string {
  const { command, file, service, wait, playbook, server } = step
  const when = step.when === undefined ? "" : ` (when ${step.when})`
  if (command)
    return `run ${"argv" in command ? command.argv.map(plain).join(" ") : shellOf(command.shell, step)}${when}`
  if (file) return `${fileText(file)}${when}`
  if (service) {
    const parts = [service.state, service.enabled === undefined ? [] : service.enabled ? "enabled" : "disabled"].flat()
    return `service ${service.name}: ${parts.filter((part) => part !== undefined).join(", ")}${when}`
  }
  if (wait) return `wait ${waitText(wait)}${when}`
  if (playbook) return `playbook ${playbook.path ?? "of its own"}${when}`
  if (server === "approval") return `wait for an approval${when}`
  return `${server === "http" ? "HTTP call" : "operation"} by the server${when}`
}

/** With the values that its variables will have, where they are known. */
function shellOf(shell: string, { environment }: StepOrder): string {
  return shell.replaceAll(/\$\{(SIGNALBOX_[A-Z0-9_]+)\}/g, (whole, name: string) => {
    const value = Object.hasOwn(environment, name) ? environment[name] : undefined
    return value === undefined ? whole : plain(value)
  })
}

function fileText({ path, absent, directory, artifact }: NonNullable<StepOrder["file"]>): string {
  if (absent) return `remove /${path}`
  if (directory) return `directory /${path}`
  return artifact ? `put /${path} (artifact ${artifact.digest.slice(0, 12)})` : `put /${path}`
}

function waitText(wait: NonNullable<StepOrder["wait"]>): string {
  if ("milliseconds" in wait) return formatDuration(wait.milliseconds)
  return "port" in wait ? `for port ${plain(wait.port)} of ${wait.host}` : `for /${wait.path}`
}
