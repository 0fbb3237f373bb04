import { hasCode, isAppError, type Issue } from "@signalbox/kernel/app-error"
import { approvalLimits } from "./approval-limits.ts"
import { countVotes } from "./count-votes.ts"
import { checkCriteria, type CriteriaName } from "./criteria.ts"
import { escalationGroupOf, joinSeats, pinSeats, type Askers } from "./seats.ts"
import type { GroupRule, LevelRule, TemplateRule } from "./template-rules.ts"
import type { World } from "./types.ts"

/** `error`: no request could ever be approved this way, or the rule means nothing. `warning`: worth knowing. */
export interface TemplateIssue extends Issue {
  readonly severity: "error" | "warning"
}

export interface JudgeOptions {
  /** Judges for requests of this requester: with the members who may then not vote. Else for everybody else's. */
  readonly askers?: Askers
}

/**
 * What is wrong with a template and its groups as they are now (A16): levels that could never be met, rules that
 * contradict each other, expressions that don't compile. To be asked when a template is made, when a group of one
 * changes, and with an association's groups applied (`withGroups`).
 *
 * @example judgeTemplate(rule, (name) => groups.get(name)).some(({ severity }) => severity === "error")
 */
export function judgeTemplate(
  template: TemplateRule,
  findGroup: World["findGroup"],
  options: JudgeOptions = {},
): TemplateIssue[] {
  const { levels } = template
  const { levelsMax } = approvalLimits
  const counted = levels.length >= 1 && levels.length <= levelsMax
  const names = new Set(levels.map(({ name }) => name))
  return [
    ...(counted ? [] : [error("levels", `a template has 1 to ${levelsMax} levels`)]),
    ...(names.size === levels.length ? [] : [error("levels", "each level has a name of its own")]),
    ...levels.flatMap((rule, index) => {
      const isLast = index === levels.length - 1
      return judgeLevel({ rule, isLast, findGroup, askers: options.askers ?? null, path: `levels[${index}]` })
    }),
    ...(["approveWhen", "denyWhen", "keepVotesWhen"] as const).flatMap((name) => judgeExpression(name, template[name])),
  ]
}

/** A template with the groups that an association puts in the place of its own, by level name. */
export function withGroups(template: TemplateRule, groups: Readonly<Record<string, string>>): TemplateRule {
  const levels = template.levels.map((rule) => {
    const group = Object.hasOwn(groups, rule.name) ? groups[rule.name] : undefined
    return group === undefined ? rule : { ...rule, group }
  })
  return { ...template, levels }
}

function error(path: string, message: string): TemplateIssue {
  return { severity: "error", path, message }
}

function warning(path: string, message: string): TemplateIssue {
  return { severity: "warning", path, message }
}

function judgeExpression(name: CriteriaName, text: string | undefined): TemplateIssue[] {
  if (text === undefined) return []
  try {
    checkCriteria(name, text)
    return []
  } catch (fault) {
    if (!isAppError(fault) || !hasCode(fault, "expressions.invalid")) throw fault
    const [{ line, column } = {}] = fault.issues
    const where = { ...(line !== undefined && { line }), ...(column !== undefined && { column }) }
    return [{ severity: "error", path: name, message: fault.message, ...where }]
  }
}

interface LevelCase {
  readonly rule: LevelRule
  readonly isLast: boolean
  readonly findGroup: World["findGroup"]
  readonly askers: Askers | null
  readonly path: string
}

function judgeLevel(level: LevelCase): TemplateIssue[] {
  return [...judgeNumbers(level), ...judgeTimers(level), ...judgeGroups(level), ...judgeSigners(level)]
}

function isPercent(percent: number): boolean {
  const scaled = percent * approvalLimits.percentScale
  return percent > 0 && percent <= 100 && Math.abs(scaled - Math.round(scaled)) < 1e-6 && Math.round(scaled) >= 1
}

const percentText = "a percentage is more than 0, at most 100, with at most three decimals"

function judgeNumbers({ rule: { strategy, reject }, path }: LevelCase): TemplateIssue[] {
  const isCount = (count: number): boolean => Number.isInteger(count) && count >= 1
  const issues: TemplateIssue[] = []
  if (strategy.kind === "percentage" && !isPercent(strategy.percent)) {
    issues.push(error(`${path}.strategy.percent`, percentText))
  }
  if (strategy.kind === "quorum" && !isCount(strategy.count)) {
    issues.push(error(`${path}.strategy.count`, "a quorum is a whole number, at least 1"))
  }
  if (reject && "percent" in reject && !isPercent(reject.percent)) {
    issues.push(error(`${path}.reject.percent`, percentText))
  }
  if (reject && "count" in reject && !isCount(reject.count)) {
    issues.push(error(`${path}.reject.count`, "a count of denials is a whole number, at least 1"))
  }
  return issues
}

function judgeTimers({ rule, isLast, path }: LevelCase): TemplateIssue[] {
  const { escalation, reminders, expiresAfterMilliseconds: expiresAfter } = rule
  const lasts = expiresAfter ?? approvalLimits.expiresAfterMillisecondsDefault
  const issues: TemplateIssue[] = []
  if (!(lasts > 0 && lasts <= approvalLimits.expiresAfterMillisecondsMax)) {
    issues.push(error(`${path}.expiresAfter`, "a level expires after more than no time and at most 30 days"))
  }
  if (escalation && !(escalation.afterMilliseconds > 0 && escalation.afterMilliseconds < lasts)) {
    issues.push(error(`${path}.escalation.after`, "a level escalates after it has opened and before it expires"))
  }
  if (escalation?.jump === true && isLast && escalation.group === undefined) {
    issues.push(warning(`${path}.escalation.jump`, "there is no next level: all are only told once more"))
  }
  if (reminders && !(reminders.everyMilliseconds > 0)) {
    issues.push(error(`${path}.reminders.every`, "reminders come after more than no time"))
  } else if (reminders && reminders.everyMilliseconds >= lasts) {
    issues.push(warning(`${path}.reminders.every`, "the level expires before the first reminder"))
  }
  return issues
}

/** Whoever has no login has no key either; a delegate may have one. */
function judgeSigners({ rule, findGroup, path }: LevelCase): TemplateIssue[] {
  if (rule.signedVotes !== "required") return []
  const silent = findGroup(rule.group)?.members.filter(({ key }) => /^(?:mailto|channel):/.test(key)) ?? []
  if (silent.length === 0) return []
  const message = `${silent.length} of the members of ${rule.group} have no login and can't sign: they can only deny`
  return [warning(`${path}.signedVotes`, message)]
}

function findUnknownGroups({ rule, findGroup, path }: LevelCase): TemplateIssue[] {
  const named = [
    [`${path}.group`, rule.group],
    [`${path}.escalation.group`, rule.escalation?.group],
  ] as const
  return named.flatMap(([at, name]) => {
    if (name === undefined) return []
    const group = findGroup(name)
    if (!group) return [error(at, `there is no approval group "${name}"`)]
    return judgeGroup(group).map((message) => error(at, message))
  })
}

function judgeGroup({ name, members }: GroupRule): string[] {
  const { weightMax } = approvalLimits
  const keys = new Set(members.map(({ key }) => key))
  const badWeight = members.find(({ weight = 1 }) => !(Number.isInteger(weight) && weight >= 1 && weight <= weightMax))
  return [
    ...(members.some(({ disabled }) => disabled !== true) ? [] : [`nobody in the group "${name}" can vote`]),
    ...(keys.size === members.length ? [] : [`a member is twice in the group "${name}"`]),
    ...(badWeight ? [`a weight in the group "${name}" is no whole number from 1 to ${weightMax}`] : []),
  ]
}

/** Counted by the very function that decides: a level that is denied before anybody has voted can't be met. */
function judgeGroups(level: LevelCase): TemplateIssue[] {
  const { rule, isLast, findGroup, askers, path } = level
  const unknown = findUnknownGroups(level)
  if (unknown.length > 0) return unknown
  const pinning = { rule, askers, world: { findGroup } }
  const seats = pinSeats(pinning, rule.group)
  const escalationGroup = escalationGroupOf(rule, isLast)
  const all = escalationGroup === undefined ? seats : joinSeats(seats, pinSeats(pinning, escalationGroup))
  if (countVotes(rule, seats, all).state === "denied") {
    const possible = all.filter(({ state }) => state !== "barred").reduce((sum, { weight }) => sum + weight, 0)
    return [error(path, `level "${rule.name}" can never be approved: all who may vote have a weight of ${possible}`)]
  }
  const warnings: TemplateIssue[] = []
  if (askers === null && rule.selfApproval !== true && all.length === 1) {
    warnings.push(warning(path, `nobody is left at level "${rule.name}" where its only member asks`))
  }
  if (rule.veto === "marked" && !all.some(({ veto }) => veto)) {
    warnings.push(warning(`${path}.veto`, "no member is marked for a veto"))
  }
  if (all.length === seats.length && escalationGroup !== undefined) {
    warnings.push(warning(`${path}.escalation.group`, "the escalation adds nobody"))
  }
  return warnings
}
