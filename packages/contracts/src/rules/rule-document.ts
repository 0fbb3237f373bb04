import { z } from "zod"
import { duration, limits, resourceName } from "../schemas.ts"
import { ruleSchedule, ruleScheduleLimits } from "./rule-schedule.ts"

/** The limits of rules. */
export const rulesLimits = {
  rulesMax: 10_000,
  triggersMax: 16,
  actionsMax: 16,
  /** Members of a correlation. */
  membersMax: 8,
  groupingMax: 4,
  conditionLengthMax: 4_096,
  inputBytesMax: 64 * 1024,
  reasonLengthMax: 500,
  delayMillisecondsMax: 30 * 86_400_000,
  /** Events of one page of a replay. */
  replayEventsMax: 1_000,
  /** Expressions of one rule together, in conditions, groupings and inputs. */
  expressionsMax: 200,
  countMax: 1_000_000,
  /** Events that a threshold counts: their times are kept, for each group. */
  thresholdCountMax: 1_000,
} as const

/** `executions.create`, `executions.*`, `*`, `ext.shop.*`. */
const operationPattern = z
  .string()
  .max(128)
  .regex(
    /^(?:\*|[a-zA-Z][a-zA-Z0-9_-]*(?:\.[a-zA-Z0-9][a-zA-Z0-9_-]*)*(?:\.\*)?)$/,
    "write an operation such as executions.create, or a pattern such as executions.*",
  )
  .describe("An operation, or a pattern: executions.*, ext.shop.*, *")

const eventPattern = z
  .string()
  .max(128)
  .regex(
    /^(?:\*|[a-z][a-z0-9-]*(?:\.[a-z][a-z0-9-]*)*(?:\.\*)?)$/,
    "write an event's type such as execution.finished, or a pattern such as execution.*",
  )
  .describe("The type of an event, or a pattern: execution.*, *")

const condition = z
  .string()
  .min(1)
  .max(rulesLimits.conditionLengthMax)
  .describe("An expression (CEL) that has to be true")

const triggerKinds = ["operation", "event", "signal", "webhook", "trigger", "schedule"] as const

/** What sets a rule going: exactly one of the kinds. */
export const ruleTrigger = z
  .strictObject({
    operation: operationPattern.optional(),
    phase: z.enum(["before", "after"]).optional().describe("Of an operation: before it is carried out, or after"),
    event: eventPattern.optional(),
    signal: resourceName.optional().describe("A signal that is raised, and not silenced"),
    state: z.enum(["raised", "cleared"]).optional().describe("Of a signal; left out, raised"),
    webhook: resourceName.optional().describe("A message to this inbound webhook"),
    trigger: resourceName.optional().describe("This trigger is fired by `triggers.fire`: by hand or by a schedule"),
    schedule: ruleSchedule
      .optional()
      .describe("The rule comes due by itself, by the clock of a zone or every so often"),
  })
  .refine(
    (trigger) => triggerKinds.filter((kind) => trigger[kind] !== undefined).length === 1,
    `a trigger has exactly one of ${triggerKinds.join(", ")}`,
  )
  .refine(
    ({ operation, phase }) => (operation === undefined) === (phase === undefined),
    "an operation needs a phase, before or after; nothing else has one",
  )
  .refine(({ signal, state }) => signal !== undefined || state === undefined, "only a signal has a state")

const actionKinds = ["operation", "deny", "requireApproval", "delay", "rewrite"] as const

/** What a rule does: exactly one of the kinds. All but `operation` gate a call, so they need a trigger before it. */
export const ruleAction = z
  .strictObject({
    operation: z.string().max(128).optional().describe("Any operation that changes something"),
    input: z
      .record(z.string().max(63), z.unknown())
      .refine(
        (value) => JSON.stringify(value).length <= rulesLimits.inputBytesMax,
        `at most ${rulesLimits.inputBytesMax / 1024} KiB`,
      )
      .optional()
      .describe("Of an operation; texts may hold ${{ expressions }}. No secrets: it is stored as it is"),
    deny: z.strictObject({ reason: z.string().min(1).max(rulesLimits.reasonLengthMax) }).optional(),
    requireApproval: z
      .strictObject({
        template: resourceName,
        reason: z
          .string()
          .min(1)
          .max(rulesLimits.reasonLengthMax)
          .optional()
          .describe("What the approvers are told; left out, the rule's description"),
      })
      .optional(),
    delay: duration.optional().describe("The call is held and runs so much later"),
    rewrite: z
      .record(z.string().max(160), z.unknown())
      .refine((value) => Object.keys(value).length > 0, "name at least one field")
      .optional()
      .describe(
        "Fields of the operation's input and their values; texts may hold ${{ expressions }}. Of a service outside: path.NAME, query.NAME, headers.NAME, body.NAME",
      ),
  })
  .refine(
    (action) => actionKinds.filter((kind) => action[kind] !== undefined).length === 1,
    `an action has exactly one of ${actionKinds.join(", ")}`,
  )
  .refine(
    ({ operation, input }) => operation !== undefined || input === undefined,
    "only an action with an operation has an input",
  )

const grouping = z
  .array(condition)
  .max(rulesLimits.groupingMax)
  .default([])
  .describe("Expressions: each of their values counts by itself")

/** Storm control: exactly one of the three. */
const limit = z
  .strictObject({
    onceWithin: duration.optional().describe("Fires at most once in this time"),
    onceAfter: duration.optional().describe("Fires when it has been quiet for so long"),
    threshold: z
      .strictObject({ count: z.int().min(2).max(rulesLimits.thresholdCountMax), within: duration })
      .optional()
      .describe("Fires when there were so many within this time"),
    by: grouping,
  })
  .refine(
    ({ onceWithin, onceAfter, threshold }) =>
      [onceWithin, onceAfter, threshold].filter((each) => each !== undefined).length === 1,
    "a limit has exactly one of onceWithin, onceAfter, threshold",
  )

const members = z
  .array(z.strictObject({ event: eventPattern, when: condition.optional() }))
  .min(1)
  .max(rulesLimits.membersMax)

/** Several events together: exactly one of `all`, `any` and `none`. */
const correlation = z
  .strictObject({
    all: members.optional(),
    any: members.optional(),
    none: members.optional().describe("None of these within the time after an event of `after`"),
    after: members.optional().describe("Of `none`: what the time counts from"),
    within: duration,
    by: grouping,
  })
  .refine(
    ({ all, any, none }) => [all, any, none].filter((each) => each !== undefined).length === 1,
    "a correlation has exactly one of all, any, none",
  )
  .refine(
    ({ none, after }) => (none === undefined) === (after === undefined),
    "`none` needs `after`, nothing else does",
  )

/** A rule as a person writes it, without its kind. */
export const ruleFields = {
  name: resourceName,
  description: z.string().max(limits.noteLengthMax).optional(),
  enabled: z.boolean().optional().describe("Left out: as it is, and true where it is new"),
  on: z
    .array(ruleTrigger)
    .min(1)
    .max(rulesLimits.triggersMax)
    .refine(
      (triggers) => triggers.filter(({ schedule }) => schedule).length <= ruleScheduleLimits.perRuleMax,
      `at most ${ruleScheduleLimits.perRuleMax} schedules`,
    )
    .optional()
    .describe("Any of these sets it going"),
  when: condition.optional(),
  limit: limit.optional(),
  budget: z
    .strictObject({ firings: z.int().min(1).max(rulesLimits.countMax), within: duration })
    .default({ firings: 100, within: "1h" })
    .describe("Firings over this budget are dropped and counted"),
  correlate: correlation.optional().describe("Several events together, in the place of `on`"),
  do: z.array(ruleAction).min(1).max(rulesLimits.actionsMax),
}

/** What is published under a version: everything but its name and whether it is enabled. */
export const ruleDefinition = z
  .strictObject(ruleFields)
  .omit({ name: true, enabled: true })
  .refine(({ on, correlate }) => (on === undefined) !== (correlate === undefined), "a rule has `on` or `correlate`")

export type RuleDefinition = z.output<typeof ruleDefinition>
export type RuleTrigger = z.output<typeof ruleTrigger>
export type RuleAction = z.output<typeof ruleAction>
