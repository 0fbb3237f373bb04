import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { duration, instant, limits, pageInput, pageOf, resourceName, tagKey } from "../schemas.ts"
import { triggerLimits } from "./trigger-limits.ts"

export const signalStates = ["unknown", "clear", "pending", "raised", "clearing"] as const
export const missingPolicies = ["keep", "unknown", "raised", "clear"] as const

const tagQueryText = z.string().min(1).max(1000)

/** What a node measures. One kind, by its name. */
export const metric = z
  .union(
    [
      z.strictObject({ load: z.literal(true) }).describe("The 1-minute load average"),
      z.strictObject({ memory: z.literal(true) }).describe("Memory in use, in percent"),
      z
        .strictObject({ disk: z.string().min(1).max(4096) })
        .describe("Use of the file system that holds this path, in percent, as df says it"),
      z
        .strictObject({
          command: z.string().min(1).max(4096).describe("For /bin/sh; its first line of output is the number"),
          timeout: duration.optional().describe("10s where absent; at most 60s"),
        })
        .describe("A number that a command prints. Needs the permission executions.run"),
    ],
    { error: "a metric is one of load: true, memory: true, disk: PATH, and command: TEXT, which may have a timeout" },
  )
  .describe("{ load: true }, { memory: true }, { disk: PATH } or { command: TEXT }")

const threshold = {
  above: z.number().optional(),
  below: z.number().optional(),
  for: duration.optional().describe("It must hold this long; at once where absent"),
}

/** `signals` of others that stay quiet while this one is raised, and the labels in which both must agree. */
const inhibits = z
  .strictObject({
    signals: z.array(z.string().min(1).max(64)).min(1).max(triggerLimits.patternsMax).describe("Names, and disk-*"),
    equal: z
      .array(tagKey)
      .max(triggerLimits.equalLabelsMax)
      .default(["node"])
      .describe("Labels that must be equal: tags of the node, and `node` for the node itself"),
  })
  .describe("While this signal is raised, these others raise without firing rules")

/** What a person writes of a signal. */
export const signalFields = {
  name: resourceName,
  description: z.string().max(limits.noteLengthMax).optional(),
  nodes: tagQueryText.optional().describe("Tag query: which nodes it watches; left out, all of them"),
  metric,
  raise: z.strictObject(threshold).describe("{ above: 90, for: 5m }, or below"),
  clear: z
    .strictObject(threshold)
    .optional()
    .describe("{ below: 80, for: 1m }: the other side. Left out, the threshold of `raise`, at once"),
  every: duration.default("15s").describe("How often nodes measure: 5s to 1h"),
  missing: z
    .strictObject({
      as: z.enum(missingPolicies).default("keep"),
      after: duration.default("5m"),
    })
    .default({ as: "keep", after: "5m" })
    .describe("What becomes of it where a node tells nothing for so long; keep: it stays as it is"),
  inhibits: inhibits.optional(),
}

export const signal = z
  .object({
    id: z.string(),
    ...signalFields,
    version: z.int(),
    createdAt: instant,
    changedAt: instant,
    changedBy: z.string(),
  })
  .describe("A figure of nodes that is watched, and the thresholds at which that is told")

export const signalsPut = defineOperation({
  name: "signals.put",
  service: "triggers",
  summary: "Create or change a signal: a metric of nodes with thresholds",
  description:
    "Nodes measure only what a signal asks of them. Crossing a threshold writes the event `signal.raised` or `signal.cleared`.",
  method: "PUT",
  path: "/v1/signals/{name}",
  effect: "change",
  permission: "signals.write",
  input: z.strictObject(signalFields),
  output: signal.extend({ changed: z.boolean() }),
  errors: ["triggers.invalid-signal", "triggers.too-many", "fleet.invalid-tag-query", "identity.permission-denied"],
})

export const signalsList = defineOperation({
  name: "signals.list",
  service: "triggers",
  summary: "List signals, with how many nodes are in which state",
  method: "GET",
  path: "/v1/signals",
  effect: "read",
  permission: "signals.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(signal.extend({ counts: z.record(z.enum(signalStates), z.int()).describe("Nodes by state") })),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "nodes", "metric", "raise", "clear", "counts", "changedAt"] },
})

export const signalsGet = defineOperation({
  name: "signals.get",
  service: "triggers",
  summary: "Show a signal",
  method: "GET",
  path: "/v1/signals/{name}",
  effect: "read",
  permission: "signals.read",
  input: z.strictObject({ name: resourceName }),
  output: signal.extend({ counts: z.record(z.enum(signalStates), z.int()) }),
  errors: ["triggers.signal-not-found"],
})

export const signalsRemove = defineOperation({
  name: "signals.remove",
  service: "triggers",
  summary: "Remove a signal: nodes stop measuring for it",
  method: "DELETE",
  path: "/v1/signals/{name}",
  effect: "change",
  permission: "signals.write",
  input: z.strictObject({ name: resourceName }),
  output: z.object({ name: z.string() }),
  errors: ["triggers.signal-not-found"],
})

const silenced = z
  .object({ by: z.enum(["silence", "signal"]), name: z.string() })
  .describe("Why its raising fires no rules")

const latest = z
  .object({
    at: instant,
    value: z.number().optional(),
    problem: z.string().optional().describe("Why there is no number"),
  })
  .describe("What the node said last")

export const signalsStates = defineOperation({
  name: "signals.states",
  service: "triggers",
  summary: "Show the state of a signal on each node, and what the nodes said last",
  description:
    "`latest` is there for nodes whose session is with the server that answers; `value` is that of the last change of state.",
  method: "GET",
  path: "/v1/signals/{name}/states",
  effect: "read",
  permission: "signals.read",
  input: z.strictObject({ name: resourceName, state: z.enum(signalStates).optional(), ...pageInput }),
  output: pageOf(
    z.object({
      node: z.string(),
      nodeId: z.string(),
      state: z.enum(signalStates),
      since: instant,
      value: z.number().optional(),
      silenced: silenced.optional(),
      latest: latest.optional(),
    }),
  ),
  errors: ["triggers.signal-not-found", "request.invalid-cursor"],
  table: { rows: "items", columns: ["node", "state", "since", "value", "latest", "silenced"] },
})

export const stateOnNode = z
  .object({
    signal: z.string(),
    subject: z.string().describe("Of the events that tell of its changes here"),
    metric,
    state: z.enum(signalStates),
    since: instant.optional().describe("When it came into this state; absent where the node has said nothing yet"),
    value: z.number().optional().describe("At the last change of state"),
    raise: z.strictObject(threshold),
    clear: z.strictObject(threshold).optional(),
    silenced: silenced.optional(),
    latest: latest.optional(),
  })
  .describe("A signal on one node")

export const nodesSignals = defineOperation({
  name: "nodes.signals",
  service: "triggers",
  summary: "Show the signals that watch a node, with their states there",
  description:
    "By name. `latest` is there where the node's session is with the server that answers; its `problem` says why there is no number.",
  method: "GET",
  path: "/v1/nodes/{node}/signals",
  effect: "read",
  permission: "signals.read",
  input: z.strictObject({ node: z.string().min(1).max(128).describe("A node's id or name") }),
  output: z.object({ items: z.array(stateOnNode).describe(`At most ${triggerLimits.signalsMax}`) }),
  errors: ["fleet.node-not-found"],
  table: { rows: "items", columns: ["signal", "state", "since", "value", "latest", "silenced"] },
})

/** What a person writes of a silence. */
export const silenceFields = {
  name: resourceName,
  signals: z
    .array(z.string().min(1).max(64))
    .min(1)
    .max(triggerLimits.patternsMax)
    .default(["*"])
    .describe("Names of signals, and patterns such as disk-*"),
  nodes: tagQueryText.optional().describe("Tag query: on which nodes; left out, on all"),
  from: z.iso.datetime({ offset: true }).optional().describe("Left out: from now on"),
  until: z.iso.datetime({ offset: true }).describe("When it ends"),
  reason: z.string().min(1).max(limits.noteLengthMax),
}

export const silence = z
  .object({
    id: z.string(),
    ...silenceFields,
    from: instant,
    until: instant,
    state: z.enum(["planned", "active", "ended"]),
    version: z.int(),
    createdAt: instant,
    changedAt: instant,
    changedBy: z.string(),
  })
  .describe("A time in which signals raise without firing rules")

export const silencesPut = defineOperation({
  name: "silences.put",
  service: "triggers",
  summary: "Keep signals from firing rules for a time",
  description:
    "Silenced signals raise and clear as ever, and their events say `silenced`. A signal that is still raised when its silence ends is told again.",
  method: "PUT",
  path: "/v1/silences/{name}",
  effect: "change",
  permission: "signals.write",
  input: z.strictObject(silenceFields),
  output: silence.extend({ changed: z.boolean() }),
  errors: ["triggers.invalid-silence", "triggers.too-many", "fleet.invalid-tag-query"],
})

export const silencesList = defineOperation({
  name: "silences.list",
  service: "triggers",
  summary: "List silences",
  method: "GET",
  path: "/v1/silences",
  effect: "read",
  permission: "signals.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(silence),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "state", "signals", "nodes", "from", "until", "reason"] },
})

export const silencesGet = defineOperation({
  name: "silences.get",
  service: "triggers",
  summary: "Show a silence",
  method: "GET",
  path: "/v1/silences/{name}",
  effect: "read",
  permission: "signals.read",
  input: z.strictObject({ name: resourceName }),
  output: silence,
  errors: ["triggers.silence-not-found"],
})

export const silencesRemove = defineOperation({
  name: "silences.remove",
  service: "triggers",
  summary: "End a silence now",
  method: "DELETE",
  path: "/v1/silences/{name}",
  effect: "change",
  permission: "signals.write",
  input: z.strictObject({ name: resourceName }),
  output: z.object({ name: z.string() }),
  errors: ["triggers.silence-not-found"],
})

export const signalsOperations = [
  signalsPut,
  signalsList,
  signalsGet,
  signalsRemove,
  signalsStates,
  nodesSignals,
  silencesPut,
  silencesList,
  silencesGet,
  silencesRemove,
] as const
