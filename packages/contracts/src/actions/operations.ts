import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instant, limits, pageInput, pageOf, resourceName, ruleReference } from "../schemas.ts"
import { rulesLimits } from "../rules/rule-document.ts"

export const actionLimits = {
  /** A chain of calls, events and actions stops when it is so long. */
  depthMax: 8,
  /** At so many different depths of one story a rule may act. */
  sameRuleMax: 4,
  attemptsMax: 10,
  /** Runs of one rule that wait or run; firings beyond are dropped and counted. */
  queuedPerRuleMax: 10_000,
  queuedPerAccountMax: 50_000,
  targetsMax: 1_000,
  redrivenMax: 1_000,
  keptDays: 30,
} as const

/**
 * `queued`: waits for its turn; `running`; `held`: its call waits for an approval; `failed`: is tried again; `succeeded`;
 * `dead`: given up, until somebody redrives it; `cancelled`; `stopped` by the guard against loops.
 */
export const actionStates = [
  "queued",
  "running",
  "held",
  "failed",
  "succeeded",
  "dead",
  "cancelled",
  "stopped",
] as const

const trigger = z
  .strictObject({
    id: z.string().min(1).max(128).describe("Of the event"),
    type: z.string().min(1).max(128),
    subject: z.string().max(256),
  })
  .describe("The event that set the rule going")

const target = z.string().min(1).max(256)

export const actionRun = z
  .object({
    id: z.string(),
    url: z.string(),
    state: z.enum(actionStates),
    rule: z.string(),
    version: z.int().describe("Of the rule"),
    number: z.int().describe("Which of the rule's actions, from 0"),
    trigger,
    operation: z.string(),
    targets: z.array(z.string()).describe("The resources that whoever asked for it named"),
    author: z.string().describe("In whose name it runs, with the authority that this principal has then"),
    cause: z.string(),
    depth: z.int().describe("Of its call in the chain of causes"),
    attempts: z.int(),
    nextAttemptAt: instant.optional(),
    requestUrl: z.string().optional().describe("Of the approval that it waits for, or waited for"),
    started: z.string().optional().describe("What its call made or changed"),
    error: z.object({ code: z.string(), message: z.string() }).optional(),
    createdAt: instant,
    finishedAt: instant.optional(),
  })
  .describe("One run of a rule's action")

export const actionRunDetails = actionRun.extend({
  input: z.unknown().describe("What its operation is called with"),
  tries: z
    .array(
      z.object({ at: instant, milliseconds: z.int(), code: z.string().optional(), message: z.string().optional() }),
    )
    .describe("The last ones"),
})

const actionId = z.string().max(64).describe("act_…")
const runErrors = ["actions.not-found"] as const

export const actionsList = defineOperation({
  name: "actions.list",
  service: "actions",
  summary: "List runs of rules' actions, the newest first",
  method: "GET",
  path: "/v1/actions",
  effect: "read",
  permission: "actions.read",
  input: z.strictObject({
    ...pageInput,
    state: z.enum(actionStates).optional().describe("`dead` lists the dead letters"),
    rule: ruleReference.optional(),
    cause: z.string().max(128).optional().describe("The id of the first request, event or firing of a story"),
    trigger: z.string().max(128).optional().describe("The id of the event that set the rule going"),
  }),
  output: pageOf(actionRun),
  errors: ["request.invalid-cursor"],
  table: {
    rows: "items",
    columns: ["id", "state", "rule", "operation", "trigger.type", "attempts", "started", "error.code", "createdAt"],
  },
})

export const actionsGet = defineOperation({
  name: "actions.get",
  service: "actions",
  summary: "Show a run of a rule's action, with its input and what came of each try",
  method: "GET",
  path: "/v1/actions/{action}",
  effect: "read",
  permission: "actions.read",
  input: z.strictObject({ action: actionId }),
  output: actionRunDetails,
  errors: runErrors,
})

export const actionsCancel = defineOperation({
  name: "actions.cancel",
  service: "actions",
  summary: "Cancel a run that waits for its turn or for its next try",
  description: "A run that waits for an approval ends when its approval request is cancelled.",
  method: "POST",
  path: "/v1/actions/{action}:cancel",
  effect: "change",
  permission: "actions.control",
  input: z.strictObject({ action: actionId, reason: z.string().max(limits.noteLengthMax).optional() }),
  output: actionRun,
  errors: ["actions.not-found", "actions.wrong-state"],
})

export const actionsRedrive = defineOperation({
  name: "actions.redrive",
  service: "actions",
  summary: "Try a dead run once more, as if it were new",
  description: "Its call keeps its Idempotency-Key: what was carried out is not carried out again.",
  method: "POST",
  path: "/v1/actions/{action}:redrive",
  effect: "change",
  permission: "actions.control",
  input: z.strictObject({ action: actionId }),
  output: actionRun,
  errors: ["actions.not-found", "actions.wrong-state"],
})

export const actionsRedriveRule = defineOperation({
  name: "actions.redrive-rule",
  service: "actions",
  summary: "Try the dead runs of a rule once more, the oldest first",
  method: "POST",
  path: "/v1/actions:redrive",
  effect: "change",
  permission: "actions.control",
  input: z.strictObject({
    rule: ruleReference,
    limit: z.int().min(1).max(actionLimits.redrivenMax).default(actionLimits.redrivenMax).describe("So many at most"),
  }),
  output: z.object({ rule: z.string(), redriven: z.int(), left: z.boolean().describe("Whether more are dead") }),
  errors: [],
})

export const actionsPerform = defineOperation({
  name: "actions.perform",
  service: "actions",
  summary: "Queue an action that a rule asks for; for the router",
  description:
    "The typed message by which a rules service's answer is handed over: rule, trigger, operation, targets and input. " +
    "The same message again changes nothing.",
  method: "POST",
  path: "/v1/actions",
  effect: "change",
  permission: "actions.perform",
  gateable: false,
  input: z.strictObject({
    rule: ruleReference,
    version: z.int().min(1).default(1),
    number: z.int().min(0).max(rulesLimits.actionsMax).default(0).describe("Which of the rule's actions, from 0"),
    trigger,
    operation: z.string().min(1).max(128),
    targets: z.array(target).max(actionLimits.targetsMax).default([]),
    input: z
      .record(z.string().max(63), z.unknown())
      .default({})
      .refine((value) => JSON.stringify(value).length <= rulesLimits.inputBytesMax, "too long"),
    author: z
      .string()
      .min(1)
      .max(200)
      .describe("The principal in whose name it runs; `service-account:NAME`: whichever has that name then"),
  }),
  output: z.object({ id: z.string(), url: z.string(), state: z.enum(actionStates) }),
  errors: ["actions.queue-full"],
})

export const stormRow = z
  .object({
    rule: z.string(),
    fired: z.int().describe("Firings that were performed"),
    suppressed: z.int().describe("Events that the rule's limit held back"),
    dropped: z.int().describe("Firings over the budget, or over what may be queued"),
    groups: z.int().describe("Groups of events that are being counted now"),
    evicted: z.int().describe("Groups that were forgotten because there were too many"),
    lastFiredAt: instant.optional(),
    lastDroppedAt: instant.optional(),
    lastDroppedReason: z
      .enum(["budget", "queue"])
      .optional()
      .describe("Over the rule's budget, or over what may be queued"),
    lastError: z.string().optional().describe("Why an event could not be grouped"),
    lastErrorAt: instant.optional(),
  })
  .describe("What storm control did with the events of a rule")

export const actionsStorms = defineOperation({
  name: "actions.storms",
  service: "actions",
  summary: "Show what storm control did with the events of each rule",
  method: "GET",
  path: "/v1/actions:storms",
  effect: "read",
  permission: "actions.read",
  input: z.strictObject({ ...pageInput, rule: resourceName.optional() }),
  output: pageOf(stormRow),
  errors: ["request.invalid-cursor"],
  table: {
    rows: "items",
    columns: ["rule", "fired", "suppressed", "dropped", "groups", "evicted", "lastFiredAt", "lastError"],
  },
})

export const actionsOperations = [
  actionsList,
  actionsGet,
  actionsCancel,
  actionsRedrive,
  actionsRedriveRule,
  actionsPerform,
  actionsStorms,
] as const
