import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instant, limits, pageInput, pageOf, resourceName } from "../schemas.ts"
import { triggerLimits } from "./trigger-limits.ts"

const jsonSchema = z
  .record(z.string(), z.unknown())
  .refine(
    (value) => JSON.stringify(value).length <= triggerLimits.schemaBytesMax,
    `at most ${triggerLimits.schemaBytesMax / 1024} KiB`,
  )
  .describe("JSON Schema (draft 2020-12) that the data of a firing must fit")

/** What a person writes of a trigger. */
export const triggerFields = {
  name: resourceName,
  description: z.string().max(limits.noteLengthMax).optional(),
  schema: jsonSchema.optional(),
}

export const trigger = z
  .object({
    id: z.string(),
    ...triggerFields,
    version: z.int(),
    createdAt: instant,
    changedAt: instant,
    changedBy: z.string(),
  })
  .describe("A name that rules wait for and that anybody with the permission can fire")

export const triggersPut = defineOperation({
  name: "triggers.put",
  service: "triggers",
  summary: "Create or change a trigger that can be fired by name",
  method: "PUT",
  path: "/v1/triggers/{name}",
  effect: "change",
  permission: "triggers.write",
  nodeScope: "none",
  input: z.strictObject(triggerFields),
  output: trigger.extend({ changed: z.boolean() }),
  errors: ["triggers.invalid-schema", "triggers.too-many"],
})

export const triggersList = defineOperation({
  name: "triggers.list",
  service: "triggers",
  summary: "List triggers that can be fired by name",
  method: "GET",
  path: "/v1/triggers",
  effect: "read",
  permission: "triggers.read",
  nodeScope: "none",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(trigger),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "description", "version", "changedAt", "changedBy"] },
})

export const triggersGet = defineOperation({
  name: "triggers.get",
  service: "triggers",
  summary: "Show a trigger",
  method: "GET",
  path: "/v1/triggers/{name}",
  effect: "read",
  permission: "triggers.read",
  nodeScope: "none",
  input: z.strictObject({ name: resourceName }),
  output: trigger,
  errors: ["triggers.trigger-not-found"],
})

export const triggersRemove = defineOperation({
  name: "triggers.remove",
  service: "triggers",
  summary: "Remove a trigger: rules that wait for it fire no more",
  method: "DELETE",
  path: "/v1/triggers/{name}",
  effect: "change",
  permission: "triggers.write",
  nodeScope: "none",
  input: z.strictObject({ name: resourceName }),
  output: z.object({ name: z.string() }),
  errors: ["triggers.trigger-not-found"],
})

export const triggersFire = defineOperation({
  name: "triggers.fire",
  service: "triggers",
  summary: "Fire a trigger: the rules that wait for it run",
  description:
    "Writes the event `trigger.fired` with `{ trigger, data }`. The data must fit the trigger's schema, where it has one.",
  method: "POST",
  path: "/v1/triggers/{name}:fire",
  effect: "change",
  permission: "triggers.fire",
  input: z.strictObject({
    name: resourceName,
    data: z
      .record(z.string(), z.unknown())
      .default({})
      .refine(
        (value) => JSON.stringify(value).length <= triggerLimits.dataBytesMax,
        `at most ${triggerLimits.dataBytesMax / 1024} KiB`,
      )
      .describe("What rules see as `event.data.data`; no secrets: it is stored as it is"),
  }),
  output: z.object({ id: z.string().describe("Of the firing: the subject of its event"), trigger: z.string() }),
  errors: ["triggers.trigger-not-found", "triggers.data-refused"],
})

export const namedTriggersOperations = [triggersPut, triggersList, triggersGet, triggersRemove, triggersFire] as const
