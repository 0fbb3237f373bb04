import type { executionsPlan } from "@signalbox/contracts/workflows/operations"
import type { OutputOf } from "@signalbox/contracts/operation"
import { renderDetails } from "./details.ts"
import { safeLine } from "./safe-text.ts"
import { paceText, parametersText, strategyLines } from "./strategy-text.ts"

type Plan = OutputOf<typeof executionsPlan>

/** What a run would do, with what to type next. */
export function renderPlan(plan: Plan, columns: number | undefined): string {
  const { workflow, targets, blastRadius, rollback, windows, domains } = plan
  const head = renderDetails(
    {
      plan: workflow.version === undefined ? `${workflow.name} (inline)` : `${workflow.name} v${workflow.version}`,
      parameters: parametersText(plan.parameters),
      targets: `${targets.text}: ${targets.count} ${targets.count === 1 ? "node" : "nodes"}`,
      brake:
        blastRadius.verdict === "within"
          ? `within the ${blastRadius.targetsMax} nodes that it may touch`
          : `REFUSED: more than ${blastRadius.targetsMax} nodes; give --targets-max if you mean it`,
      pace: paceText(plan),
      strategy: strategyLines(plan.strategy).join("; ") || undefined,
      domains:
        domains && `${domains.count} of ${domains.tag}, the largest ${domains.largest}, ${domains.withoutTag} without`,
      windows: windows && windowsText(windows),
      takes: `at most ${plan.durationMax}, holds and pauses not counted`,
      saved: rollback.saved.length > 0 ? rollback.saved.join(", ") : undefined,
      asks: asksText(plan),
      notCovered: rollback.notCovered.length > 0 ? rollback.notCovered.join(", ") : undefined,
    },
    columns,
  )
  const steps = plan.steps.map(({ name, kind, undo }) => `  ${safeLine(name)} (${kind}, undo: ${undo})`)
  const sample = plan.sample.flatMap(({ nodeName, steps: done }) => [
    `${safeLine(nodeName)}:`,
    ...done.map(({ name, does }) => `  ${safeLine(name)}:${doesText(does)}`),
  ])
  const rest = plan.targets.count - plan.sample.length
  return [
    head,
    "steps:",
    ...steps,
    ...(sample.length > 0 ? ["", ...sample, ...(rest > 0 ? [`and ${rest} more nodes`] : [])] : []),
    "",
    `Run exactly this, or nothing: the same command with --plan-digest ${plan.planDigest} in the place of --plan`,
    "",
  ].join("\n")
}

/** Whom the run will wait for, step by step. */
function asksText({ approvals, asked = [] }: Plan): string | undefined {
  const texts = approvals.map(({ step, template, scope }) => {
    const levels = asked.filter((each) => each.step === step)
    const who = levels.map(({ level, strategy, members }) => {
      const names = members.map(({ name, barred }) => (barred === undefined ? name : `${name} (barred)`))
      return `${level}, ${strategy} of ${names.join(", ")}`
    })
    return `${step}: ${template}, ${scope === "task" ? "for each node" : "once"} (${who.join("; ")})`
  })
  return texts.length > 0 ? safeLine(texts.join("; ")) : undefined
}

/** A script keeps its lines, below its step's name. */
function doesText(does: string): string {
  const lines = does.trimEnd().split("\n")
  return lines.length === 1 ? ` ${safeLine(does.trimEnd())}` : lines.map((line) => `\n    ${safeLine(line)}`).join("")
}

function windowsText({ open, name, changesAt }: NonNullable<Plan["windows"]>): string {
  const which = name === undefined ? "none" : name
  if (open) return `${which} is open${changesAt === undefined ? "" : ` until ${changesAt}`}`
  return changesAt === undefined ? "closed, and none opens again" : `closed; ${which} opens at ${changesAt}`
}
