import { z } from "zod"
import { countOrPercent, duration, limits, resourceName, tagKey } from "../schemas.ts"
import { httpCall } from "./steps.ts"

export const strategyLimits = {
  wavesMax: 100,
  windowsMax: 10,
  expressionLengthMax: 2000,
  healthFailuresMax: 100,
} as const

export const expression = z.string().min(1).max(strategyLimits.expressionLengthMax).describe("A CEL expression")

/** Failure classes as people write them, and what they stand for in a task's `class`. */
export const failureThreshold = z.enum(["failed", "timeout", "unreachable", "interrupted"])

const health = z
  .strictObject({
    http: httpCall.optional().describe("Called by the server; healthy where the expected status comes"),
    run: z.string().min(1).max(8192).optional().describe("A command for /bin/sh; healthy where it exits with 0"),
    on: resourceName.optional().describe("With `run`: the node that runs it"),
    every: duration.default("10s"),
    timeout: duration.default("10s").describe("Of one check"),
    failures: z.int().min(1).max(strategyLimits.healthFailuresMax).default(3).describe("In a row that stop the run"),
  })
  .refine((check) => (check.http === undefined) !== (check.run === undefined), "give either http or run")
  .refine((check) => (check.run === undefined) === (check.on === undefined), "run and on go together")
  .describe("Asked again and again while the run goes on and bakes")

/**
 * How a run goes over its targets. A workflow gives it; a run may give each member anew. What neither gives is sized by
 * the number of targets (W11).
 */
export const strategyFields = {
  concurrency: countOrPercent.optional().describe("Targets in flight at once"),
  ramp: z.boolean().optional().describe("Begin with one target, then two, four and so on, up to the concurrency"),
  waves: z
    .array(countOrPercent)
    .min(1)
    .max(strategyLimits.wavesMax)
    .optional()
    .describe("Targets of each wave; the last size repeats; a wave begins when the one before has ended and baked"),
  bake: duration.optional().describe("Waited after each wave"),
  unavailableLimit: countOrPercent
    .optional()
    .describe("Targets that may be unavailable at once: in flight, or ended badly and not rolled back"),
  failureDomain: tagKey
    .optional()
    .describe("A tag such as cluster or rack: never two targets with the same value at once"),
  errorLimit: countOrPercent.optional().describe("Failures tolerated; one more stops the run"),
  errorLimits: z
    .partialRecord(failureThreshold, countOrPercent)
    .optional()
    .describe("Tolerated of one class; one more stops the run"),
  errorRate: z
    .strictObject({
      limit: z.string().regex(/^(?:100|\d{1,2}(?:\.\d{1,2})?)%$/, "write a percentage such as 20%"),
      sample: z.int().min(1).max(1_000_000).default(10).describe("Completed targets before the rate counts"),
    })
    .optional()
    .describe("Stops the run where failures among completed targets are above it"),
  strict: z.boolean().optional().describe("In flight and failed never exceed the error limit by more than one"),
  countUnreachable: z.boolean().optional().describe("Unreachable targets count as failures; they don't by default"),
  stopWhen: expression.optional().describe("Stops the run once true; over `run.failed`, `run.completed` and so on"),
  health: health.optional(),
  windows: z
    .array(resourceName)
    .min(1)
    .max(strategyLimits.windowsMax)
    .optional()
    .describe("Maintenance windows: outside of all of them no target starts"),
  rollback: z
    .enum(["never", "on-failure", "all"])
    .optional()
    .describe(
      "on-failure puts failed targets back; all also the succeeded ones, last first, once the run has stopped by itself",
    ),
  rollbackConcurrency: countOrPercent.optional().describe("Of a rollback of succeeded targets; else the concurrency"),
} as const

export const strategy = z.strictObject(strategyFields)
export type Strategy = z.output<typeof strategy>
export type FailureThreshold = z.output<typeof failureThreshold>
export type HealthCheck = z.output<typeof health>

export const noteText = z.string().max(limits.noteLengthMax)
