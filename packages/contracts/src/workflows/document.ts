import { z } from "zod"
import { agentLimits } from "../fleet/agent-protocol.ts"
import { countOrPercent, duration, limits, resourceName } from "../schemas.ts"

/**
 * A workflow document, as people write it in YAML. `${{ params.NAME }}`, `${{ node.name }}`, `${{ node.id }}` and
 * `${{ node.tags.KEY }}` stand for values in `run`, `undo`, `env`, `directory` and `save`, and nowhere else.
 */
export const documentLimits = {
  stepsMax: agentLimits.stepsMax,
  savedPathsMax: agentLimits.savedPathsMax,
  commandLengthMax: 128 * 1024,
  argumentsMax: 1000,
  environmentMax: 100,
  valueLengthMax: 8192,
  patternLengthMax: 500,
  choicesMax: 100,
  attemptsMax: 100,
} as const

const noTemplate = (text: string): boolean => !text.includes("${{")
const noNul = (text: string): boolean => !text.includes("\0")
const plainText = z.string().refine(noTemplate, "templates are not possible here")

export const parameterName = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,62}$/, "use 1 to 63 of a-z, 0-9 and underscore, beginning with a letter")

const value = z.union([z.string().max(documentLimits.valueLengthMax), z.number(), z.boolean()])

export const parameterDeclaration = z
  .strictObject({
    type: z.enum(["string", "integer", "number", "boolean"]).default("string"),
    description: z.string().max(limits.noteLengthMax).optional(),
    default: value.optional().describe("Makes the parameter optional"),
    required: z.boolean().optional().describe("False: may be left out without a default, and is then empty"),
    pattern: z
      .string()
      .max(documentLimits.patternLengthMax)
      .optional()
      .describe("Of a string: a regular expression in RE2 syntax that the value must match somewhere; anchor with ^ $"),
    lengthMax: z.int().min(0).max(documentLimits.valueLengthMax).optional().describe("Of a string, in characters"),
    enum: z.array(value).min(1).max(documentLimits.choicesMax).optional().describe("The values that are allowed"),
    min: z.number().optional().describe("Of an integer or number"),
    max: z.number().optional().describe("Of an integer or number"),
  })
  .describe("A parameter of the workflow")

const command = z
  .union([
    z.string().min(1).max(documentLimits.commandLengthMax).refine(noNul, "a command has no NUL character"),
    z
      .array(z.string().max(documentLimits.commandLengthMax).refine(noNul, "a word has no NUL character"))
      .min(1)
      .max(documentLimits.argumentsMax),
  ])
  .describe("A text is run by /bin/sh -c; a list is run as it is, without a shell")

const environmentName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, "use letters, digits and underscore")
const environment = z
  .record(environmentName, z.union([z.string().max(32_768).refine(noNul, "no NUL character"), z.number(), z.boolean()]))
  .refine(
    (names) => Object.keys(names).length <= documentLimits.environmentMax,
    `at most ${documentLimits.environmentMax} variables`,
  )
  .refine(
    (names) => Object.keys(names).every((name) => !name.startsWith("SIGNALBOX_")),
    "names that begin with SIGNALBOX_ are set by Signalbox",
  )

const upwards = /(?:^|\/)\.\.(?:\/|$)/
const path = z
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

const retry = z.strictObject({
  attempts: z.int().min(1).max(documentLimits.attemptsMax).describe("In all; 1 is no retry"),
  delay: duration.default("0s"),
})

export const workflowStep = z
  .strictObject({
    name: plainText.pipe(z.string().min(1).max(128)).optional().describe("`step 1` and so on where it is left out"),
    run: command,
    env: environment.optional(),
    directory: path.optional().describe("Working directory within the node's root"),
    user: plainText.pipe(z.string().regex(/^[a-z_][a-z0-9_-]{0,31}$/, "write the name of a user")).optional(),
    timeout: duration.optional().describe("Of one attempt; the task's where it is left out"),
    outputLimit: size.optional().describe("Kept of each stream, half from its head and half from its tail; 32KiB"),
    retry: retry.optional().describe("Of this step on the node"),
    undo: command.optional().describe("Run by a rollback if the step was started"),
  })
  .describe("A command on the node")

export const workflowDocument = z
  .strictObject({
    kind: z.literal("Workflow"),
    name: resourceName,
    description: z.string().max(limits.noteLengthMax).optional(),
    parameters: z
      .record(parameterName, parameterDeclaration)
      .refine((all) => Object.keys(all).length <= limits.parametersMax, `at most ${limits.parametersMax} parameters`)
      .default({}),
    concurrency: countOrPercent.optional().describe("Nodes in flight at once; by fleet size where it is left out"),
    errorLimit: countOrPercent.optional().describe("Failures tolerated; by fleet size where it is left out"),
    timeout: duration.default("1h").describe("Of the task: all steps on one node"),
    startTimeout: duration.default("30s").describe("A node that takes no order for so long is unreachable"),
    save: z
      .array(path)
      .max(documentLimits.savedPathsMax)
      .default([])
      .describe("Files and directories saved before the first step and put back, byte for byte, by a rollback"),
    rollback: z
      .enum(["on-failure", "never"])
      .optional()
      .describe("on-failure where something is saved or can be undone, else never"),
    retry: retry.optional().describe("Of the task as a whole: a new attempt on the node"),
    steps: z.array(workflowStep).min(1).max(documentLimits.stepsMax),
  })
  .describe("A Signalbox workflow")

export type WorkflowDocument = z.output<typeof workflowDocument>
export type WorkflowStep = z.output<typeof workflowStep>
export type ParameterDeclaration = z.output<typeof parameterDeclaration>
export type ParameterValue = string | number | boolean

/** The JSON Schema of workflow documents, for editors; draft 2020-12. */
export function workflowJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(workflowDocument, { io: "input" })
  return { ...schema, title: "Signalbox workflow", $id: "https://signalbox.invalid/schemas/workflow.json" }
}
