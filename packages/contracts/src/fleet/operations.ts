import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { duration, instant, limits, pageInput, pageOf, resourceName, tags } from "../schemas.ts"
import { exchangeCall, exchangeReply } from "./agent-protocol.ts"
import { inventory } from "./inventory.ts"

export const nodeStates = ["online", "offline", "held", "registered"] as const

export const node = z
  .object({
    id: z.string(),
    name: resourceName,
    kind: z.string().describe("`node`, or what a resource without an agent is: database, service, …"),
    state: z
      .enum(nodeStates)
      .describe("held: two machines use this node's key, neither gets work; registered: a resource without an agent"),
    runner: z.string().optional().describe("Of a resource: the id of the node that runs its tasks"),
    tags,
    agentVersion: z.string().optional(),
    os: z.string().optional().describe("Name and version, as in `Debian GNU/Linux 12`"),
    architecture: z.string().optional(),
    packagesInstalled: z.int().optional(),
    packagesPending: z.int().optional(),
    enrolledAt: instant,
    lastSeenAt: instant.optional(),
  })
  .describe("A managed machine with an agent, or a resource without one")

export const nodeReference = z.string().min(1).max(128).describe("A node's id or name")
export const tagQuery = z
  .string()
  .min(1)
  .max(1000)
  .describe("Terms joined by commas: role=web, env!=prod, region in (eu,us), gpu, !gpu")

export const nodesList = defineOperation({
  name: "nodes.list",
  nodeScope: "honoured",
  service: "fleet",
  summary: "List nodes",
  method: "GET",
  path: "/v1/nodes",
  effect: "read",
  permission: "nodes.read",
  input: z.strictObject({
    ...pageInput,
    query: tagQuery.optional(),
    group: resourceName.optional(),
    state: z.enum(nodeStates).optional(),
  }),
  output: pageOf(node),
  errors: ["request.invalid-cursor", "fleet.invalid-tag-query", "fleet.group-not-found"],
  table: { rows: "items", columns: ["name", "state", "tags", "os", "packagesPending", "lastSeenAt", "id"] },
})

export const nodesGet = defineOperation({
  name: "nodes.get",
  nodeScope: "honoured",
  service: "fleet",
  summary: "Show a node",
  method: "GET",
  path: "/v1/nodes/{node}",
  effect: "read",
  permission: "nodes.read",
  input: z.strictObject({ node: nodeReference }),
  output: node,
  errors: ["fleet.node-not-found"],
})

export const nodesInventory = defineOperation({
  name: "nodes.inventory",
  nodeScope: "honoured",
  service: "fleet",
  summary: "Show what a node has: system, packages installed and pending",
  method: "GET",
  path: "/v1/nodes/{node}/inventory",
  effect: "read",
  permission: "nodes.read",
  input: z.strictObject({ node: nodeReference }),
  output: z.object({
    collectedAt: instant.optional(),
    firstCollectedAt: instant.optional().describe("When the node's packages were looked at first"),
    inventory: inventory.optional(),
  }),
  errors: ["fleet.node-not-found"],
})

export const nodesPackageChanges = defineOperation({
  name: "nodes.package-changes",
  nodeScope: "honoured",
  service: "fleet",
  summary: "List which packages of a node came, went or changed, the newest first",
  description: "Told from one inventory to the next; the latest few thousand changes are kept.",
  method: "GET",
  path: "/v1/nodes/{node}/package-changes",
  effect: "read",
  permission: "nodes.read",
  input: z.strictObject({
    node: nodeReference,
    ...pageInput,
    package: z.string().min(1).max(128).optional().describe("Only this package"),
  }),
  output: pageOf(
    z.object({
      package: z.string(),
      architecture: z.string(),
      fromVersion: z.string().optional().describe("Absent where it was installed anew"),
      toVersion: z.string().optional().describe("Absent where it was removed"),
      seenAt: instant.describe("When it was seen"),
      seenAfter: instant.describe("When it was not so yet"),
      changedAt: instant.optional().describe("By the machine's own clock"),
    }),
  ),
  errors: ["fleet.node-not-found", "request.invalid-cursor"],
  table: { rows: "items", columns: ["seenAt", "package", "architecture", "fromVersion", "toVersion", "changedAt"] },
})

export const nodesUpdate = defineOperation({
  name: "nodes.update",
  nodeScope: "honoured",
  service: "fleet",
  summary: "Set or remove tags of a node",
  method: "PATCH",
  path: "/v1/nodes/{node}",
  effect: "change",
  permission: "nodes.write",
  input: z.strictObject({
    node: nodeReference,
    tags: z
      .record(z.string().max(63), z.string().max(limits.tagValueLengthMax).nullable())
      .optional()
      .describe("Tags to set; null removes one"),
    release: z
      .boolean()
      .optional()
      .describe("Lets a held node in again: the next machine that connects with its key is the node"),
  }),
  output: node,
  errors: ["fleet.node-not-found", "fleet.outside-scope", "request.invalid-input"],
})

export const nodesRemove = defineOperation({
  name: "nodes.remove",
  nodeScope: "honoured",
  service: "fleet",
  summary: "Remove a node: its agent's key is refused from now on",
  method: "DELETE",
  path: "/v1/nodes/{node}",
  effect: "change",
  permission: "nodes.write",
  input: z.strictObject({ node: nodeReference }),
  output: z.object({ id: z.string(), name: z.string() }),
  errors: ["fleet.node-not-found"],
})

export const resourcesApply = defineOperation({
  name: "resources.apply",
  service: "fleet",
  summary: "Register a resource without an agent, or change it",
  description:
    "A resource is a target like a node: it has a name and tags, and groups and queries find it. Its tasks run on its " +
    "runner node, or as operations and HTTP calls where it has none. nodes.list shows it, nodes.remove removes it.",
  method: "PUT",
  path: "/v1/resources/{name}",
  effect: "change",
  permission: "nodes.write",
  input: z.strictObject({
    name: resourceName,
    kind: z
      .string()
      .regex(/^[a-z][a-z0-9-]{0,31}$/, "use 1 to 32 of a-z, 0-9 and dash, beginning with a letter")
      .refine((kind) => kind !== "node", "a node has an agent; enrol it")
      .default("resource"),
    tags: tags.default({}),
    runner: nodeReference.optional().describe("The node that runs this resource's tasks"),
  }),
  output: node.extend({ changed: z.boolean() }),
  errors: ["fleet.node-not-found", "fleet.node-name-taken", "request.invalid-input"],
})

export const nodesEnroll = defineOperation({
  name: "nodes.enroll",
  service: "fleet",
  summary: "Enrol this machine: register its public key as a node",
  description: "Called by the agent with an enrolment key as the bearer.",
  method: "POST",
  path: "/v1/nodes:enroll",
  effect: "change",
  // An agent that waits to be let in has no way to wait for people: who may enrol is the enrolment key's to say.
  gateable: false,
  permission: "nodes.enroll",
  input: z.strictObject({
    name: resourceName,
    machineId: z.string().min(1).max(128),
    publicKey: z.string().min(1).max(200).describe("Ed25519, SPKI in base64"),
    tags: tags.default({}),
  }),
  output: z.object({ node: z.string(), name: z.string(), account: z.string(), tags }),
  errors: [
    "fleet.enrollment-key-used-up",
    "fleet.enrollment-key-expired",
    "fleet.enrollment-source-refused",
    "fleet.enrollment-tag-refused",
    "fleet.node-name-taken",
    "fleet.public-key-taken",
    "request.invalid-input",
  ],
})

export const nodesResolve = defineOperation({
  name: "nodes.resolve",
  nodeScope: "honoured",
  service: "fleet",
  summary: "Resolve targets to nodes, in the order of their ids",
  method: "POST",
  path: "/v1/nodes:resolve",
  effect: "read",
  permission: "nodes.read",
  input: z.strictObject({
    ...pageInput,
    limit: z.int().min(1).max(5000).default(1000),
    nodes: z.array(nodeReference).min(1).max(limits.targetsListMax).optional(),
    query: tagQuery.optional(),
    group: resourceName.optional(),
    all: z.literal(true).optional(),
    count: z.boolean().optional().describe("With the number of all targets, of every page"),
  }),
  output: z.object({
    items: z.array(
      z.object({
        id: z.string(),
        name: z.string(),
        tags,
        runner: z.string().optional().describe("What runs the tasks of a resource: a node's id, or `server`"),
      }),
    ),
    unknown: z.array(z.string()).describe("Entries of `nodes` that don't exist (first page only)"),
    count: z.int().optional(),
    nextCursor: z.string().optional(),
  }),
  errors: ["request.invalid-cursor", "fleet.invalid-tag-query", "fleet.group-not-found"],
  table: { rows: "items", columns: ["name", "id", "tags"] },
})

export const sessionsOpen = defineOperation({
  name: "sessions.open",
  service: "fleet",
  summary: "Open an agent's session",
  description: "A WebSocket. The bearer is a token of at most 60 seconds signed with the node's own key.",
  method: "GET",
  path: "/v1/sessions",
  effect: "session",
  permission: "sessions.open",
  input: z.strictObject({}),
  output: z.object({}),
  errors: ["fleet.agent-identity-refused", "fleet.node-held"],
})

export const sessionsExchange = defineOperation({
  name: "sessions.exchange",
  service: "fleet",
  summary: "Exchange frames of an agent's session where WebSockets are cut",
  description:
    "A long poll. The bearer is a token as for sessions.open, a new one for each call. A call without `session` opens " +
    "one, and its first frame is the hello. What one side has received it says by number; the rest is sent again, and " +
    "a frame that comes again is passed over. It changes nothing by itself: frames are checked against session and " +
    "schema only.",
  method: "POST",
  path: "/v1/sessions:exchange",
  effect: "read",
  permission: "sessions.open",
  input: exchangeCall,
  output: exchangeReply,
  errors: [
    "fleet.agent-identity-refused",
    "fleet.node-held",
    "fleet.protocol-violation",
    "fleet.session-not-found",
    "request.invalid-input",
  ],
})

export const enrollmentKey = z.object({
  id: z.string(),
  name: z.string().optional(),
  usesMax: z.int(),
  usesCount: z.int(),
  expiresAt: instant,
  sourceRanges: z.array(z.string()),
  tags,
  createdAt: instant,
  createdBy: z.string(),
  revokedAt: instant.optional(),
})

export const enrollmentKeysCreate = defineOperation({
  name: "enrollment-keys.create",
  service: "fleet",
  summary: "Create an enrolment key; without options a code for one machine, valid for an hour",
  method: "POST",
  path: "/v1/enrollment-keys",
  effect: "change",
  permission: "enrollment-keys.write",
  input: z.strictObject({
    name: z.string().min(1).max(limits.nameLengthMax).optional(),
    usesMax: z.int().min(1).max(100_000).default(1).describe("How many machines it may enrol"),
    expiresIn: duration.default("1h"),
    sourceRanges: z
      .array(z.string().max(64))
      .max(32)
      .default([])
      .describe("CIDR ranges it is accepted from; none: any"),
    tags: tags.default({}).describe("Tags that every node enrolled with it gets"),
    tagsAllowed: z
      .array(z.string().max(63))
      .max(limits.tagsMax)
      .default([])
      .describe("Tag keys that a machine may set itself"),
  }),
  output: enrollmentKey.extend({
    key: z.string().describe("The key's text, shown once"),
    caFingerprint: z.string().optional().describe("SHA-256 of the server's CA, to be pinned; absent on plain HTTP"),
    serverUrl: z.string().describe("Where agents reach this server"),
    command: z.string().describe("What to run on the machine"),
  }),
  secretOutput: ["key", "command"],
  errors: ["request.invalid-input"],
})

export const enrollmentKeysList = defineOperation({
  name: "enrollment-keys.list",
  service: "fleet",
  summary: "List enrolment keys",
  method: "GET",
  path: "/v1/enrollment-keys",
  effect: "read",
  permission: "enrollment-keys.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(enrollmentKey),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["id", "name", "usesCount", "usesMax", "expiresAt", "revokedAt"] },
})

export const enrollmentKeysRevoke = defineOperation({
  name: "enrollment-keys.revoke",
  service: "fleet",
  summary: "Revoke an enrolment key; nodes enrolled with it stay",
  method: "POST",
  path: "/v1/enrollment-keys/{key}:revoke",
  effect: "change",
  permission: "enrollment-keys.write",
  input: z.strictObject({ key: z.string().max(64) }),
  output: enrollmentKey,
  errors: ["fleet.enrollment-key-not-found"],
})

export const nodeGroup = z
  .object({
    name: resourceName,
    description: z.string().max(limits.noteLengthMax).optional(),
    query: tagQuery.optional(),
    nodes: z.array(nodeReference).max(limits.targetsListMax).optional(),
    createdAt: instant,
    changedAt: instant,
  })
  .describe("A named set of nodes: by tag query (resolved when it is used) or by list")

export const groupsPut = defineOperation({
  name: "groups.put",
  service: "fleet",
  summary: "Create or change a node group",
  method: "PUT",
  path: "/v1/groups/{name}",
  effect: "change",
  permission: "groups.write",
  input: z.strictObject({
    name: resourceName,
    description: z.string().max(limits.noteLengthMax).optional(),
    query: tagQuery.optional(),
    nodes: z.array(nodeReference).min(1).max(limits.targetsListMax).optional(),
  }),
  output: nodeGroup,
  errors: ["fleet.invalid-tag-query", "fleet.node-not-found", "fleet.too-many-groups", "request.invalid-input"],
})

export const groupsList = defineOperation({
  name: "groups.list",
  service: "fleet",
  summary: "List node groups",
  method: "GET",
  path: "/v1/groups",
  effect: "read",
  permission: "groups.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(nodeGroup),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "query", "nodes", "description"] },
})

export const groupsGet = defineOperation({
  name: "groups.get",
  service: "fleet",
  summary: "Show a node group",
  method: "GET",
  path: "/v1/groups/{name}",
  effect: "read",
  permission: "groups.read",
  input: z.strictObject({ name: resourceName }),
  output: nodeGroup,
  errors: ["fleet.group-not-found"],
})

export const groupsRemove = defineOperation({
  name: "groups.remove",
  service: "fleet",
  summary: "Remove a node group; its nodes stay",
  method: "DELETE",
  path: "/v1/groups/{name}",
  effect: "change",
  permission: "groups.write",
  input: z.strictObject({ name: resourceName }),
  output: z.object({ name: z.string() }),
  errors: ["fleet.group-not-found"],
})

export const fleetOperations = [
  nodesList,
  nodesGet,
  nodesInventory,
  nodesPackageChanges,
  nodesUpdate,
  nodesRemove,
  resourcesApply,
  nodesEnroll,
  nodesResolve,
  sessionsOpen,
  sessionsExchange,
  enrollmentKeysCreate,
  enrollmentKeysList,
  enrollmentKeysRevoke,
  groupsPut,
  groupsList,
  groupsGet,
  groupsRemove,
] as const
