import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { actionStates } from "../actions/operations.ts"
import { stateOnNode } from "../triggers/signals.ts"
import { instant, instantInput, limits, pageInput, pageOf } from "../schemas.ts"
import { chainOperations } from "./chain-operations.ts"

/** A CloudEvent 1.0 as Signalbox delivers it. `cause` is the id that joins one story; `causedby` its direct parent. */
export const event = z.object({
  specversion: z.literal("1.0"),
  id: z.string(),
  source: z.string().describe("/accounts/<account>"),
  type: z.string().describe("<noun>.<past participle>, as in execution.started"),
  subject: z.string().describe("The id of what changed"),
  subjectversion: z.int().describe("Grows by one for each event of the subject"),
  time: instant,
  cause: z.string(),
  causedby: z.string().optional(),
  depth: z.int(),
  principal: z.string(),
  data: z.record(z.string(), z.unknown()),
})

const eventFilter = {
  type: z.string().max(128).optional().describe("Only this type; `execution.*` for a whole noun"),
  subject: z.string().max(128).optional().describe("Only events of this subject"),
}

export const auditRecord = z.object({
  id: z.string(),
  time: instant,
  principal: z.string(),
  operation: z.string(),
  subject: z.string(),
  outcome: z.string().describe("`done`, `held`, or the code of the refusal"),
  requestId: z.string(),
  cause: z.string(),
  causedBy: z.string().optional(),
  sourceAddress: z.string().optional(),
  inputDigest: z.string().describe("SHA-256 of the canonical JSON of the input"),
})

export const eventsList = defineOperation({
  name: "events.list",
  service: "audit",
  summary: "List events in the order in which they became visible",
  method: "GET",
  path: "/v1/events",
  effect: "read",
  permission: "events.read",
  input: z.strictObject({ ...pageInput, ...eventFilter }),
  output: pageOf(event),
  errors: ["request.invalid-cursor", "events.position-expired"],
  table: { rows: "items", columns: ["time", "type", "subject", "principal", "cause"] },
})

export const eventsWatch = defineOperation({
  name: "events.watch",
  service: "audit",
  summary: "Follow events as they happen",
  description:
    "Server-sent events. `Last-Event-ID` (or `cursor`) resumes after that event; without it the stream begins now.",
  method: "GET",
  path: "/v1/events:watch",
  effect: "stream",
  permission: "events.read",
  input: z.strictObject({ cursor: z.string().max(512).optional(), ...eventFilter }),
  output: event,
  errors: ["request.invalid-cursor", "events.position-expired"],
})

export const auditList = defineOperation({
  name: "audit.list",
  service: "audit",
  summary: "List audit records, the newest first",
  method: "GET",
  path: "/v1/audit",
  effect: "read",
  permission: "audit.read",
  input: z.strictObject({
    ...pageInput,
    operation: z.string().max(128).optional(),
    principal: z.string().max(128).optional(),
    subject: z.string().max(128).optional(),
    outcome: z.string().max(128).optional().describe("`done`, `held`, a code, or `refused` for every refusal"),
    from: instantInput.optional().describe("Records from this instant on"),
    to: instantInput.optional().describe("Records before this instant"),
  }),
  output: pageOf(auditRecord),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["time", "principal", "operation", "subject", "outcome"] },
})

const storyEntry = z.object({
  time: instant,
  kind: z.enum(["request", "event", "task"]),
  id: z.string(),
  what: z.string().describe("The operation or the event type"),
  subject: z.string(),
  principal: z.string(),
  text: z.string().describe("One sentence for people"),
  depth: z.int(),
  data: z.record(z.string(), z.unknown()).optional(),
})

const signalOfNode = stateOnNode.extend({
  raised: z
    .object({
      event: z.string().describe("The event that told of it last"),
      at: instant,
      value: z.number().optional(),
      runs: z
        .array(
          z.object({
            id: z.string(),
            rule: z.string(),
            operation: z.string(),
            state: z.enum(actionStates),
            started: z.string().optional(),
          }),
        )
        .describe("Of rules' actions that this event set going"),
    })
    .optional()
    .describe("Where it is raised, and told of in the events that are kept"),
})

const signalsOfNode = z.array(signalOfNode).describe("Those that watch the node, raised ones first")

export const whyExplain = defineOperation({
  name: "why.explain",
  service: "audit",
  summary: "Tell the story behind an id: who asked, what followed",
  description:
    "Takes the id of a node, an execution, a task, an event, a request or a key, or a node's name; of a node it tells its latest tasks and its signals too.",
  method: "GET",
  path: "/v1/why/{id}",
  effect: "read",
  permission: "events.read",
  input: z.strictObject({
    id: z.string().min(1).max(128),
    limit: z.coerce.number().int().min(1).max(limits.pageItemsMax).default(200),
  }),
  output: z.object({
    id: z.string(),
    cause: z.string(),
    entries: z.array(storyEntry),
    truncated: z.boolean(),
    signals: signalsOfNode.optional().describe("Of a node"),
  }),
  errors: ["audit.unknown-subject"],
})

const approvalFact = z.object({
  time: instant,
  type: z.string().describe("The event's type: approval-request.<past participle>"),
  subject: z.string(),
  principal: z.string(),
  text: z.string(),
  data: z.record(z.string(), z.unknown()),
})

const finding = z.object({
  time: instant,
  kind: z
    .enum(["run", "maybe-run", "outside"])
    .describe("A run did it; a run was at work then, and it may have been that; or not by Signalbox"),
  text: z.string().describe("One sentence for people"),
  execution: z.string().optional(),
  task: z.string().optional(),
  workflow: z.string().optional(),
  by: z.string().optional().describe("The principal that started the run"),
  cause: z.string().optional().describe("The id that joins the run's whole story"),
  state: z.string().optional().describe("The task's"),
  architecture: z.string().optional(),
  fromVersion: z.string().optional(),
  toVersion: z.string().optional(),
  seenAt: instant.optional().describe("The inventory that showed the change"),
  seenAfter: instant.optional().describe("The last inventory that did not"),
  approvals: z.array(approvalFact).describe("What was said of the request that it was held for, the oldest first"),
})

export const whyNode = defineOperation({
  name: "why.node",
  service: "audit",
  summary: "Tell who changed a node, or a package on it, the newest first",
  description:
    "Of a node: the runs that touched it, and its signals. Of a package: for each change of its version the run that made it, or that it was not made by Signalbox and when it was seen.",
  method: "GET",
  path: "/v1/why/nodes/{node}",
  effect: "read",
  permission: "events.read",
  input: z.strictObject({
    node: z.string().min(1).max(128).describe("A node's id or name"),
    package: z.string().min(1).max(128).optional(),
    limit: z.coerce.number().int().min(1).max(100).default(20).describe("Findings at most"),
  }),
  output: z.object({
    node: z.string(),
    nodeName: z.string(),
    package: z.string().optional(),
    present: z.array(z.object({ architecture: z.string(), version: z.string() })).optional(),
    answer: z.string().describe("One sentence for people"),
    findings: z.array(finding),
    signals: signalsOfNode.optional().describe("Where no package was asked for"),
  }),
  errors: ["fleet.node-not-found"],
})

export const auditOperations = [eventsList, eventsWatch, auditList, ...chainOperations, whyExplain, whyNode] as const
