import { z } from "zod"
import { agentLimits } from "../fleet/agent-protocol.ts"
import { duration, resourceName } from "../schemas.ts"

/**
 * The kinds of steps of a workflow document. A step has exactly one of the members that name a kind; `findStepKind`
 * tells which. Texts may hold templates where `document.ts` says so.
 */
export const stepLimits = {
  commandLengthMax: 128 * 1024,
  argumentsMax: 1000,
  environmentMax: 100,
  attemptsMax: 100,
  fileContentLengthMax: 512 * 1024,
  headersMax: 50,
  bodyLengthMax: 256 * 1024,
  outputsMax: 50,
  variablesMax: 100,
  approvalTextLengthMax: 8192,
  approvalTitleLengthMax: 200,
} as const

const noTemplate = (text: string): boolean => !text.includes("${{")
const noNul = (text: string): boolean => !text.includes("\0")
export const plainText = z.string().refine(noTemplate, "templates are not possible here")

export const command = z
  .union([
    z.string().min(1).max(stepLimits.commandLengthMax).refine(noNul, "a command has no NUL character"),
    z
      .array(z.string().max(stepLimits.commandLengthMax).refine(noNul, "a word has no NUL character"))
      .min(1)
      .max(stepLimits.argumentsMax),
  ])
  .describe("A text is run by /bin/sh -c; a list is run as it is, without a shell")

const environmentName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, "use letters, digits and underscore")
export const environment = z
  .record(environmentName, z.union([z.string().max(32_768).refine(noNul, "no NUL character"), z.number(), z.boolean()]))
  .refine(
    (names) => Object.keys(names).length <= stepLimits.environmentMax,
    `at most ${stepLimits.environmentMax} variables`,
  )
  .refine(
    (names) => Object.keys(names).every((name) => !name.startsWith("SIGNALBOX_")),
    "names that begin with SIGNALBOX_ are set by Signalbox",
  )

const upwards = /(?:^|\/)\.\.(?:\/|$)/
export const path = z
  .string()
  .min(1)
  .max(4096)
  .refine((text) => !upwards.test(text), "a path doesn't lead upwards")
  .refine(noNul, "a path has no NUL character")
  .describe("Within the node's root")

const size = z
  .union([z.int().min(0), z.string().regex(/^\d{1,9}(?:B|KiB|MiB)?$/, "write a size such as 64KiB")])
  .refine(
    (given) => bytesOf(given) <= agentLimits.outputKeptBytesMax,
    `at most ${agentLimits.outputKeptBytesMax / 1024} KiB`,
  )

/** @example bytesOf("64KiB") // 65536 */
export function bytesOf(given: number | string): number {
  const [, count, unit] = /^(\d+)(B|KiB|MiB)?$/.exec(String(given)) ?? []
  return Number(count) * (unit === "MiB" ? 1024 * 1024 : unit === "KiB" ? 1024 : 1)
}

export const retry = z
  .strictObject({
    attempts: z.int().min(1).max(stepLimits.attemptsMax).describe("In all; 1 is no retry"),
    delay: duration.default("0s").describe("Before the second attempt"),
    backoff: z.number().min(1).max(10).default(1).describe("Each further delay is so many times the one before"),
    delayMax: duration.default("10m"),
    jitter: z.number().min(0).max(1).default(0).describe("The share of a delay that is left to chance"),
  })
  .describe("Tries again where it fails")

const mode = z.string().regex(/^[0-7]{3,4}$/, 'write a mode as a text such as "0644"')
const unixName = plainText.pipe(z.string().regex(/^[a-z_][a-z0-9_-]{0,31}$/, "write the name of a user or group"))

/** Undone by putting back what was there: bytes, mode, owner, or absence. */
export const fileChange = z
  .strictObject({
    path,
    content: z.string().max(stepLimits.fileContentLengthMax).optional().describe("The file's whole text"),
    literal: z.literal(true).optional().describe("With `content`: templates in it are left as they are"),
    artifact: z.string().min(1).max(128).optional().describe("The file's bytes: an artifact's name or its digest"),
    absent: z.literal(true).optional().describe("No such file or directory"),
    directory: z.literal(true).optional().describe("A directory"),
    mode: mode.optional().describe("As it is where there is a file, else 0644, of a directory 0755"),
    owner: unixName.optional(),
    group: unixName.optional(),
  })
  .refine(
    ({ content, artifact, absent, directory }) =>
      [content, artifact, absent, directory].filter((given) => given !== undefined).length === 1,
    "give exactly one of content, artifact, absent and directory",
  )
  .refine(({ literal, content }) => literal === undefined || content !== undefined, "literal goes with content")
  .refine(
    (file) => file.absent === undefined || (file.mode ?? file.owner ?? file.group) === undefined,
    "what is absent has no mode, owner or group",
  )

/** Undone by bringing back the state that the service was in. */
export const serviceChange = z
  .strictObject({
    name: z
      .string()
      .max(256)
      .regex(/^(?!-)[^/\n\0]+$/, "write a service's name"),
    state: z.enum(["started", "stopped", "restarted", "reloaded"]).optional(),
    enabled: z.boolean().optional().describe("Started at boot"),
  })
  .refine(({ state, enabled }) => (state ?? enabled) !== undefined, "give state, enabled or both")

export const httpCall = z
  .strictObject({
    method: z.enum(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]).default("GET"),
    url: z.string().min(1).max(8192),
    headers: z
      .record(z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/, "write a header's name"), z.string().max(8192))
      .refine((all) => Object.keys(all).length <= stepLimits.headersMax, `at most ${stepLimits.headersMax} headers`)
      .default({}),
    body: z.string().max(stepLimits.bodyLengthMax).optional(),
    status: z.array(z.int().min(100).max(599)).min(1).max(50).optional().describe("Expected; 200 to 299 by default"),
    retrySafe: z
      .boolean()
      .optional()
      .describe("May be sent again where its answer was lost; GET, HEAD, PUT and DELETE may by default"),
  })
  .describe("Sent by the server, through its guarded way out")

export const operationCall = z
  .strictObject({
    name: plainText
      .pipe(z.string().min(1).max(200))
      .describe("An operation's name, as `signalbox operations list` shows"),
    input: z.record(z.string().max(128), z.unknown()).default({}),
  })
  .describe("Called by the server, once, in the name of who started the run")

/** Asked by the server; it has no undo, as it changes nothing. */
export const approvalAsk = z
  .strictObject({
    template: resourceName.describe("The approval template that says who has to answer"),
    groups: z
      .record(resourceName, resourceName)
      .refine((groups) => Object.keys(groups).length <= 10, "at most 10 levels")
      .default({})
      .describe("By level name: the group that answers there instead of the template's"),
    scope: z
      .enum(["execution", "task"])
      .default("execution")
      .describe("Asked once for all targets, when the first one comes to this step, or for each target by itself"),
    title: z.string().min(1).max(stepLimits.approvalTitleLengthMax).optional().describe("One line for lists and mails"),
    message: z.string().max(stepLimits.approvalTextLengthMax).optional().describe("What the members have to know"),
  })
  .describe("Waits until people have said yes; the task keeps its slot meanwhile")

/** What a wait waits for, on the node. */
export const waitFor = z.union([
  duration,
  z.strictObject({
    port: z.union([z.int().min(1).max(65_535), z.string().max(200)]),
    host: z.string().max(255).default("127.0.0.1"),
  }),
  z.strictObject({ path }),
])

export const playbook = z
  .strictObject({
    path: path.optional().describe("Of the playbook on the node"),
    content: z
      .string()
      .min(1)
      .max(stepLimits.fileContentLengthMax)
      .optional()
      .describe("The playbook itself, literally"),
    variables: z
      .record(z.string().max(128), z.union([z.string().max(8192), z.number(), z.boolean()]))
      .refine(
        (all) => Object.keys(all).length <= stepLimits.variablesMax,
        `at most ${stepLimits.variablesMax} variables`,
      )
      .default({}),
    tags: z
      .array(plainText.pipe(z.string().max(128)))
      .max(50)
      .optional(),
  })
  .refine((given) => (given.path === undefined) !== (given.content === undefined), "give either path or content")
  .describe("An Ansible playbook, run on the node itself with ansible-playbook and a local connection")

const kinds = {
  run: command.optional(),
  file: fileChange.optional().describe("Puts or removes a file on the node"),
  service: serviceChange.optional().describe("Starts, stops, restarts, reloads, enables or disables a service"),
  http: httpCall.optional(),
  operation: operationCall.optional(),
  wait: waitFor.optional(),
  playbook: playbook.optional(),
  approval: approvalAsk.optional(),
} as const

export type StepKind = keyof typeof kinds
export const stepKinds = Object.keys(kinds) as readonly StepKind[]
/** Kinds that the server performs while the node waits; a target without an agent can have these alone. */
export const serverStepKinds: ReadonlySet<StepKind> = new Set<StepKind>(["http", "operation", "approval"])

const undo = z
  .union([
    command,
    z.strictObject({ http: httpCall }),
    z.strictObject({ operation: operationCall }),
    z.strictObject({ playbook }),
  ])
  .describe("Run by a rollback if the step was begun; file and service undo themselves")

export const workflowStep = z
  .strictObject({
    name: plainText.pipe(z.string().min(1).max(128)).optional().describe("`step 1` and so on where it is left out"),
    id: z
      .string()
      .regex(/^[a-z][a-z0-9_]{0,31}$/, "use 1 to 32 of a-z, 0-9 and underscore, beginning with a letter")
      .optional()
      .describe("How later steps name this one: steps.ID.outputs.KEY"),
    when: z
      .string()
      .min(1)
      .max(2000)
      .optional()
      .describe("A CEL expression over params, node and steps; the step is skipped where it is false"),
    ...kinds,
    env: environment.optional(),
    directory: path.optional().describe("Working directory within the node's root"),
    user: unixName.optional(),
    timeout: duration
      .optional()
      .describe("Of one attempt; the task's where it is left out. Of an approval: how long it is waited for, 7 days"),
    outputLimit: size.optional().describe("Kept of each stream, half from its head and half from its tail; 32KiB"),
    outputs: z
      .record(z.string().regex(/^[a-z][a-z0-9_]{0,62}$/, "use a-z, 0-9 and underscore"), z.string().min(1).max(2000))
      .refine((all) => Object.keys(all).length <= stepLimits.outputsMax, `at most ${stepLimits.outputsMax} outputs`)
      .optional()
      .describe("CEL expressions over `result`; beside what a command writes to $SIGNALBOX_OUTPUT as NAME=VALUE"),
    onFailure: z.enum(["stop", "continue"]).optional().describe("continue: the next step runs all the same"),
    retry: retry.optional().describe("Of this step on the node"),
    undo: undo.optional(),
  })
  .refine(
    (step) => stepKinds.filter((kind) => step[kind] !== undefined).length === 1,
    `give exactly one of ${stepKinds.join(", ")}`,
  )
  .describe("One step on the target")

export type WorkflowStep = z.output<typeof workflowStep>
export type FileChange = z.output<typeof fileChange>
export type ServiceChange = z.output<typeof serviceChange>
export type HttpCall = z.output<typeof httpCall>
export type OperationCall = z.output<typeof operationCall>
export type ApprovalAsk = z.output<typeof approvalAsk>
export type WaitFor = z.output<typeof waitFor>
export type Playbook = z.output<typeof playbook>
export type StepUndo = z.output<typeof undo>
export type Retry = z.output<typeof retry>
export type CommandText = z.output<typeof command>

/** Which of the kinds a step is. */
export function getStepKind(step: Pick<WorkflowStep, StepKind>): StepKind {
  const kind = stepKinds.find((name) => step[name] !== undefined)
  if (kind === undefined) throw new TypeError("a step that was read has a kind")
  return kind
}
