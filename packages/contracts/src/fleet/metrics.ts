import { z } from "zod"

/**
 * What a server asks a node to measure, and what comes of it. An agent measures nothing by itself, and an agent that knows
 * nothing of metrics passes the frame over: so neither side has to know how old the other one is.
 */
export const metricLimits = {
  watchesMax: 64,
  everyMillisecondsMin: 1_000,
  everyMillisecondsMax: 3_600_000,
  commandTimeoutMillisecondsMax: 60_000,
  problemLengthMax: 300,
} as const

const id = z.string().min(1).max(64)

export const metricWatch = z.strictObject({
  /** Chosen by the server: the same for what is measured the same way. */
  id,
  everyMilliseconds: z.int().min(metricLimits.everyMillisecondsMin).max(metricLimits.everyMillisecondsMax),
  metric: z.union([
    z.strictObject({ kind: z.enum(["load", "memory"]) }),
    z.strictObject({ kind: z.literal("disk"), path: z.string().min(1).max(4096) }),
    z.strictObject({
      kind: z.literal("command"),
      command: z.string().min(1).max(4096).describe("For /bin/sh; its first line of output is the number"),
      timeoutMilliseconds: z.int().min(1).max(metricLimits.commandTimeoutMillisecondsMax),
    }),
  ]),
})

export const metricSample = z.strictObject({
  id,
  value: z.number().optional(),
  problem: z.string().max(metricLimits.problemLengthMax).optional().describe("Why there is no number"),
})

export type MetricWatch = z.output<typeof metricWatch>
export type MetricSample = z.output<typeof metricSample>
