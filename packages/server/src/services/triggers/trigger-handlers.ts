import {
  triggersFire,
  triggersGet,
  triggersList,
  triggersPut,
  triggersRemove,
} from "@signalbox/contracts/triggers/named-triggers"
import type { OutputOf } from "@signalbox/contracts/operation"
import { toInstant } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import { onChange, onRead, type Handler } from "../../router/handler.ts"
import { checkData, compileSchema } from "./data-schema.ts"
import { getDefinition, pageOfDefinitions, putWithEvent, removeWithEvent, triggerKind } from "./definition-change.ts"
import type { DefinitionRow } from "./definition-store.ts"
import type { TriggersOptions } from "./options.ts"

interface TriggerSpec {
  readonly schema?: Readonly<Record<string, unknown>>
}

export const triggerFired = "trigger.fired"

export function triggerHandlers(options: TriggersOptions): Handler[] {
  return [
    onChange(
      triggersPut,
      async ({ name, description, schema }, ctx) => {
        const spec: TriggerSpec = schema === undefined ? {} : { schema }
        const { row, change } = await putWithEvent(options, ctx, { kind: triggerKind, name, description, spec })
        return { ...toTrigger(row), changed: change !== "none" }
      },
      {
        prepare: async ({ schema }) => {
          if (schema !== undefined) compileSchema(schema)
          return Promise.resolve()
        },
      },
    ),
    onRead(triggersList, async (input, { sql, account }) => {
      const { rows, ...rest } = await pageOfDefinitions<TriggerSpec>(sql, triggerKind, { account, ...input })
      return { items: rows.map(toTrigger), ...rest }
    }),
    onRead(triggersGet, async ({ name }, { sql, account }) =>
      toTrigger(await getDefinition<TriggerSpec>(sql, triggerKind, { account, name })),
    ),
    onChange(triggersRemove, async ({ name }, ctx) => {
      await removeWithEvent(options, ctx, { kind: triggerKind, name })
      return { name }
    }),
    onChange(triggersFire, async ({ name, data }, ctx) => {
      const { spec } = await getDefinition<TriggerSpec>(ctx.tx, triggerKind, { account: ctx.account, name })
      if (spec.schema !== undefined) checkData(spec.schema, { name, data })
      // Each firing is a subject of its own, so that many at once don't wait for one another.
      const id = newId("triggerFiring", options.clock, options.random)
      ctx.emit({ aggregate: id, type: triggerFired, subject: id, version: 1, data: { trigger: name, data } })
      return { id, trigger: name }
    }),
  ]
}

function toTrigger(row: DefinitionRow<TriggerSpec>): OutputOf<typeof triggersGet> {
  const { id, name, description, spec, version, createdAt, changedAt, changedBy } = row
  return {
    ...{ id, name, ...(description === null ? {} : { description }), ...spec, version, changedBy },
    ...{ createdAt: toInstant(createdAt), changedAt: toInstant(changedAt) },
  }
}
