import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { stormRow } from "../actions/operations.ts"
import { instant, pageInput, pageOf, resourceName } from "../schemas.ts"
import { ruleFields, rulesLimits } from "./rule-document.ts"

const { enabled: _enabled, ...written } = ruleFields

const warnings = z
  .array(
    z.object({
      code: z.string().describe("Of the error that a look at it would give"),
      path: z.string(),
      message: z.string().describe("What isn't there, what follows, and what to do"),
    }),
  )
  .optional()
  .describe("What the rule names and isn't there at the moment; absent where all of it is")

export const rule = z
  .object({
    id: z.string(),
    ...written,
    enabled: z.boolean(),
    version: z.int(),
    author: z.string().describe("In whose name, and with whose authority, it acts: whoever put it last"),
    createdAt: instant,
    changedAt: instant,
    broken: z.string().optional().describe("Why this server can't compile it: where it gates, it refuses every call"),
    outdated: z
      .string()
      .optional()
      .describe("What it names of a service outside and is there no more, or takes no more what the rule says"),
    lastFault: z
      .object({ at: instant, message: z.string(), count: z.int().describe("Since it was put") })
      .optional()
      .describe("The last time that its condition could not be evaluated"),
    warnings,
  })
  .describe("What has to happen before or after operations, or because of events")

const which = {
  name: resourceName.optional().describe("A rule that is stored"),
  rule: z.strictObject(ruleFields).optional().describe("Or a draft"),
}

const caller = z
  .strictObject({
    principal: z.string().max(200),
    kind: z.string().max(64).default("user"),
    roles: z.array(z.string().max(64)).max(64).default([]),
    teams: z.array(z.string().max(128)).max(256).default([]),
  })
  .describe("Left out: whoever asks")

const madeUpEvent = z.strictObject({
  type: z.string().min(1).max(128),
  id: z.string().max(64).default("evt_made_up"),
  subject: z.string().max(128).default(""),
  time: instant.optional().describe("Left out: now"),
  cause: z.string().max(64).default("req_made_up"),
  depth: z.int().min(0).max(64).default(0),
  principal: z.string().max(200).default("anonymous"),
  data: z.record(z.string(), z.unknown()).default({}),
})

const madeUpCall = z.strictObject({
  operation: z.string().max(128),
  phase: z.enum(["before", "after"]).default("before"),
  input: z.record(z.string(), z.unknown()).default({}),
  output: z.unknown().optional(),
  caller: caller.optional(),
})

const outcome = z
  .enum(["matched", "not-matched", "not-triggered", "failed"])
  .describe("failed: the condition has no result; a gating rule then refuses the call, others don't fire")

const effect = z
  .object({
    kind: z.enum(["operation", "deny", "requireApproval", "delay", "rewrite"]),
    operation: z.string().optional(),
    input: z.unknown().optional().describe("Of an operation, or the fields of a rewrite: with its expressions filled"),
    text: z.string().optional().describe("Reason, template or delay"),
    fault: z.string().optional().describe("Why its expressions can't be filled"),
  })
  .describe("What the rule would do")

const condition = z
  .object({
    depth: z.int().describe("0 for the whole condition"),
    text: z.string(),
    value: z.unknown().optional().describe("Absent where this part failed"),
    fault: z.string().optional(),
    decisive: z.boolean().describe("One of the parts that made the condition what it is"),
  })
  .describe("A part of the condition")

const verdict = z.object({
  rule: z.string(),
  version: z.int().optional().describe("Absent of a draft"),
  event: z.string().optional(),
  outdated: z.string().optional().describe("As of the rule: what would fail by now"),
  outcome,
  reason: z.string().describe("In a sentence"),
  conditions: z.array(condition).describe("The parts of the condition, each before its own parts"),
  effects: z.array(effect).describe("In the order of `do`; limits and budgets are not looked at"),
})

export const rulesPut = defineOperation({
  name: "rules.put",
  service: "rules",
  summary: "Create a rule, or give it a new version",
  description:
    "It is checked against the schemas of the operations that it is about, and is in force on every server within a second. It acts with the authority that its author has at that moment: whoever puts it becomes its author.",
  method: "PUT",
  path: "/v1/rules/{name}",
  effect: "change",
  permission: "rules.write",
  input: z.strictObject(ruleFields),
  output: rule.extend({ changed: z.boolean() }),
  errors: ["rules.invalid-rule", "rules.author-refused", "rules.too-many", "identity.permission-denied"],
})

export const rulesGet = defineOperation({
  name: "rules.get",
  nodeScope: "none",
  service: "rules",
  summary: "Show a rule, as it is or in an earlier version",
  method: "GET",
  path: "/v1/rules/{name}",
  effect: "read",
  permission: "rules.read",
  input: z.strictObject({ name: resourceName, version: z.coerce.number().int().min(1).optional() }),
  output: rule.extend({
    activity: stormRow.omit({ rule: true }).optional().describe("Absent where nothing has set it going"),
  }),
  errors: ["rules.rule-not-found"],
})

export const rulesList = defineOperation({
  name: "rules.list",
  nodeScope: "none",
  service: "rules",
  summary: "List rules",
  method: "GET",
  path: "/v1/rules",
  effect: "read",
  permission: "rules.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(rule),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "version", "enabled", "author", "changedAt", "description"] },
})

export const rulesRemove = defineOperation({
  name: "rules.remove",
  service: "rules",
  summary: "Remove a rule; those of its actions that are queued are cancelled",
  method: "DELETE",
  path: "/v1/rules/{name}",
  effect: "change",
  permission: "rules.write",
  input: z.strictObject({ name: resourceName }),
  output: z.object({ name: z.string() }),
  errors: ["rules.rule-not-found"],
})

export const rulesTest = defineOperation({
  name: "rules.test",
  service: "rules",
  summary: "Try a rule on an event or a call; nothing is performed",
  description: "A stored rule or a draft, and one of: a past event, a made-up event, a made-up call.",
  method: "POST",
  path: "/v1/rules:test",
  effect: "read",
  permission: "rules.read",
  input: z.strictObject({
    ...which,
    eventId: z.string().max(128).optional().describe("A past event; of `operation.done` the call that it tells of"),
    event: madeUpEvent.optional(),
    call: madeUpCall.optional(),
  }),
  output: verdict.extend({ warnings }),
  errors: ["rules.rule-not-found", "rules.invalid-rule", "rules.event-not-found"],
})

export const rulesExplain = defineOperation({
  name: "rules.explain",
  service: "rules",
  summary: "Explain why a rule matched a past event, or why not",
  method: "GET",
  path: "/v1/rules/{name}/explanations/{event}",
  effect: "read",
  permission: "rules.read",
  input: z.strictObject({ name: resourceName, event: z.string().max(128) }),
  output: verdict,
  errors: ["rules.rule-not-found", "rules.event-not-found"],
})

export const rulesReplay = defineOperation({
  name: "rules.replay",
  service: "rules",
  summary: "Hold past events against a rule; nothing is performed",
  description:
    "A stored rule or a draft, and a page of the events that are kept, the oldest first. Limits and budgets are not looked at. Of calls only those are kept that some rule followed.",
  method: "POST",
  path: "/v1/rules:replay",
  effect: "read",
  permission: "rules.read",
  input: z.strictObject({
    ...which,
    cursor: pageInput.cursor,
    limit: z.coerce.number().int().min(1).max(rulesLimits.replayEventsMax).default(rulesLimits.replayEventsMax),
  }),
  output: z.object({
    items: z
      .array(
        z.object({
          event: z.string(),
          type: z.string(),
          subject: z.string(),
          time: instant,
          outcome,
          reason: z.string(),
          effects: z.array(effect),
        }),
      )
      .describe("The events that it matches or fails on"),
    scanned: z.int().describe("Events of this page"),
    matched: z.int(),
    failed: z.int(),
    nextCursor: z.string().optional().describe("Absent where there are no more events"),
  }),
  errors: ["rules.rule-not-found", "rules.invalid-rule", "request.invalid-cursor", "events.position-expired"],
  table: { rows: "items", columns: ["time", "type", "subject", "outcome", "reason"] },
})

export const rulesOperations = [
  rulesPut,
  rulesGet,
  rulesList,
  rulesRemove,
  rulesTest,
  rulesExplain,
  rulesReplay,
] as const
