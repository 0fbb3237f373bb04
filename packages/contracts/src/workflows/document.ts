import { z } from "zod"
import { agentLimits } from "../fleet/agent-protocol.ts"
import { duration, limits, resourceName } from "../schemas.ts"
import { path, retry, workflowStep, type WorkflowStep } from "./steps.ts"
import { strategyFields } from "./strategy.ts"

/**
 * A workflow document, as people write it in YAML. `${{ params.NAME }}`, `${{ node.name }}`, `${{ node.id }}`,
 * `${{ node.tags.KEY }}`, `${{ secrets.NAME }}` and `${{ steps.ID.outputs.KEY }}` stand for values in what a step does and
 * undoes (commands, environment, paths, contents, URLs, headers, bodies, inputs) and in `save`; secrets and outputs of
 * steps not in paths and names, which are fixed at the plan.
 */
export const documentLimits = {
  stepsMax: agentLimits.stepsMax,
  savedPathsMax: agentLimits.savedPathsMax,
  valueLengthMax: 8192,
  patternLengthMax: 500,
  choicesMax: 100,
} as const

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

export const workflowDocument = z
  .strictObject({
    kind: z.literal("Workflow"),
    name: resourceName,
    description: z.string().max(limits.noteLengthMax).optional(),
    parameters: z
      .record(parameterName, parameterDeclaration)
      .refine((all) => Object.keys(all).length <= limits.parametersMax, `at most ${limits.parametersMax} parameters`)
      .default({}),
    ...strategyFields,
    exclusive: z
      .boolean()
      .default(true)
      .describe("A node runs one such task at a time; false for what only reads, such as a report"),
    timeout: duration.default("1h").describe("Of the task: all steps on one node"),
    startTimeout: duration.default("30s").describe("A node that takes no order for so long is unreachable"),
    save: z
      .array(path)
      .max(documentLimits.savedPathsMax)
      .default([])
      .describe("Files and directories saved before the first step and put back, byte for byte, by a rollback"),
    restore: z
      .enum(["declared", "whole"])
      .default("declared")
      .describe("What a rollback puts back: what the steps and `save` declare, or the node's whole private root"),
    retry: retry.optional().describe("Of the task as a whole: a new attempt on the node"),
    steps: z.array(workflowStep).min(1).max(documentLimits.stepsMax),
  })
  .describe("A Signalbox workflow")

export type WorkflowDocument = z.output<typeof workflowDocument>
export type { WorkflowStep }
export type ParameterDeclaration = z.output<typeof parameterDeclaration>
export type ParameterValue = string | number | boolean

/** The JSON Schema of workflow documents, for editors; draft 2020-12. */
export function workflowJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(workflowDocument, { io: "input" })
  return { ...schema, title: "Signalbox workflow", $id: "https://signalbox.invalid/schemas/workflow.json" }
}
