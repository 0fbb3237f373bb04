import { assert } from "@signalbox/kernel/assert"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { z } from "zod"
import { auditRecord, event } from "./audit/operations.ts"
import { keptOutput, rollbackOutcome, stepResult, taskOutcome } from "./fleet/agent-protocol.ts"
import { inventory } from "./fleet/inventory.ts"
import { enrollmentKey, node, nodeGroup } from "./fleet/operations.ts"
import { heldReply, problem } from "./problem.ts"
import { execution, executionCounts, task, workflow } from "./workflows/operations.ts"

export type JsonSchema = Readonly<Record<string, unknown>>

/** Reply schemas that the document lists once, by name, under `components/schemas`. */
const namedSchemas: Readonly<Record<string, z.ZodType>> = {
  AuditRecord: auditRecord,
  EnrollmentKey: enrollmentKey,
  Event: event,
  Execution: execution,
  ExecutionCounts: executionCounts,
  Held: heldReply,
  Inventory: inventory,
  KeptOutput: keptOutput,
  Node: node,
  NodeGroup: nodeGroup,
  Problem: problem,
  RollbackOutcome: rollbackOutcome,
  StepResult: stepResult,
  Task: task,
  TaskOutcome: taskOutcome,
  Workflow: workflow,
}

/** Adds our component names to what the schemas themselves say (their descriptions). */
class ComponentRegistry extends z.core.$ZodRegistry<z.core.JSONSchemaMeta> {
  override get(schema: z.core.$ZodType): z.core.JSONSchemaMeta | undefined {
    const described = z.globalRegistry.get(schema)
    const named = this._map.get(schema)
    return described || named ? { ...described, ...named } : undefined
  }
}

const registry = new ComponentRegistry()
for (const [id, schema] of Object.entries(namedSchemas)) registry.add(schema, { id })

export function componentReference(name: string): JsonSchema {
  return { $ref: `#/components/schemas/${name}` }
}

/** Collects the components that the schemas of one document refer to. */
export class SchemaWriter {
  readonly components = new Map<string, JsonSchema>()

  /** A reply's schema. Clients must ignore members that they don't know, so objects stay open. */
  reply(schema: z.ZodType): JsonSchema {
    return this.#write(schema, "output")
  }

  /** What a caller may send. */
  request(schema: z.ZodType): JsonSchema {
    return this.#write(schema, "input")
  }

  #write(schema: z.ZodType, io: "input" | "output"): JsonSchema {
    const written = z.toJSONSchema(schema, { io, metadata: registry, override: simplify })
    const {
      $schema: _dialect,
      $defs = {},
      ...root
    } = JSON.parse(JSON.stringify(written).replaceAll('"#/$defs/', '"#/components/schemas/')) as Record<string, unknown>
    for (const [name, definition] of Object.entries($defs as Record<string, JsonSchema>)) {
      const { id: _id, ...component } = definition
      this.#keep(name, component)
    }
    const { id, ...rest } = root
    if (typeof id !== "string") return rest
    this.#keep(id, rest)
    return componentReference(id)
  }

  #keep(name: string, component: JsonSchema): void {
    const before = this.components.get(name)
    assert(!before || canonicalJson(before) === canonicalJson(component), `component ${name} has two forms`)
    this.components.set(name, component)
  }
}

/** Leaves out what only says how zod checks: safe-integer bounds, the pattern behind a date, closed reply objects. */
function simplify({
  zodSchema,
  jsonSchema,
}: {
  zodSchema: z.core.$ZodTypes
  jsonSchema: z.core.JSONSchema.BaseSchema
}) {
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
  if (jsonSchema.format === "date-time") delete jsonSchema.pattern
  const definition = zodSchema._zod.def
  if (definition.type === "object" && definition.catchall === undefined) delete jsonSchema.additionalProperties
}
