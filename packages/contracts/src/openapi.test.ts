import { Validator } from "@seriousme/openapi-schema-validator"
import { errorCatalogue } from "@signalbox/kernel/error-catalogue"
import { Ajv2020 } from "ajv/dist/2020.js"
import { describe, expect, test } from "vitest"
import { z } from "zod"
import { makeOpenApi, possibleErrors } from "./openapi.ts"
import { defineOperation, type AnyOperation } from "./operation.ts"
import { operations } from "./operations.ts"

const document = makeOpenApi(operations, "1.2.3")

interface WrittenOperation {
  readonly operationId: string
  readonly tags: readonly string[]
  readonly parameters: ReadonlyArray<{ readonly name: string; readonly in: string; readonly required: boolean }>
  readonly requestBody?: {
    readonly content: Readonly<Record<string, { readonly schema: { readonly properties: object } }>>
  }
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema: unknown }>> }>
  >
}

function findWritten(operation: AnyOperation): WrittenOperation | undefined {
  return document.paths[operation.path]?.[operation.method.toLowerCase()] as WrittenOperation | undefined
}

function written(operation: AnyOperation): WrittenOperation {
  const found = findWritten(operation)
  if (!found) throw new Error(`${operation.name} is not in the document`)
  return found
}

describe("the OpenAPI document", () => {
  test("is valid OpenAPI 3.1", async () => {
    const result = await new Validator().validate({ ...structuredClone(document) })
    expect(result.errors).toBeUndefined()
    expect(result.valid).toBe(true)
    const broken = await new Validator().validate({ ...structuredClone(document), info: { title: "no version" } })
    expect(broken.valid).toBe(false)
  })

  test("holds only schemas that a JSON Schema validator compiles, with every reference resolved", () => {
    const ajv = new Ajv2020({ strict: false, validateFormats: false })
    ajv.addSchema({ $id: "openapi:", components: document.components })
    const text = JSON.stringify(document.paths).replaceAll('"#/components/', '"openapi:#/components/')
    let count = 0
    JSON.parse(text, (key, value: object) => {
      if (key !== "schema" && key !== "contentSchema") return value
      expect(() => ajv.compile(value)).not.toThrow()
      count++
      return value
    })
    expect(count).toBeGreaterThan(operations.length)
  })

  test("is the same whatever the order of the declarations", () => {
    expect(JSON.stringify(makeOpenApi(operations.toReversed(), "1.2.3"))).toBe(JSON.stringify(document))
  })

  test("refuses two operations of one method and path", () => {
    const [first] = operations
    expect(() => makeOpenApi([...operations, first as AnyOperation], "1.2.3")).toThrow(/is taken/)
  })
})

describe.each(operations.map((operation) => [operation.name, operation] as const))("%s", (name, operation) => {
  test("is in the document, every input field in exactly one place", () => {
    const { operationId, tags, parameters, requestBody } = written(operation)
    expect(operationId).toBe(name)
    expect(tags).toEqual([operation.service])
    const places = [
      ...parameters.filter((each) => each.in !== "header").map((each) => each.name),
      ...Object.keys(requestBody?.content["application/json"]?.schema.properties ?? {}),
    ]
    expect(places.toSorted()).toEqual(Object.keys(operation.input.shape).toSorted())
  })

  test("lists its replies and its errors", () => {
    const { responses } = written(operation)
    const statuses = { read: ["200"], stream: ["200"], session: ["101"], change: ["200", "202"] }[operation.effect]
    const expected = operation.rawOutput === undefined ? statuses : ["200", "206", "416"]
    expect(Object.keys(responses).filter((status) => status !== "default")).toEqual(expected)
    const problems = JSON.stringify(responses["default"]?.content?.["application/problem+json"]?.schema)
    for (const code of operation.errors) expect(problems).toContain(`"${code}"`)
    for (const code of possibleErrors(operation)) expect(errorCatalogue).toHaveProperty([code])
  })

  test("asks for an Idempotency-Key where it changes something, and only there", () => {
    const header = written(operation).parameters.find((each) => each.name === "Idempotency-Key")
    expect(header?.required ?? false).toBe(operation.effect === "change")
  })
})

describe("a made-up operation", () => {
  const operation = defineOperation({
    name: "things.update",
    service: "fleet",
    summary: "Update a thing",
    method: "PATCH",
    path: "/v1/things/{thing}",
    effect: "change",
    permission: "nodes.write",
    input: z.strictObject({ thing: z.string(), count: z.int().default(1), label: z.string() }),
    output: z.object({ id: z.string(), at: z.iso.datetime() }),
    errors: ["fleet.node-not-found"],
  })
  const { paths } = makeOpenApi([operation], "1.2.3")
  const item = paths["/v1/things/{thing}"]?.["patch"] as WrittenOperation

  test("keeps the path's fields out of the body, and defaults out of what is required", () => {
    expect(item.requestBody).toEqual({
      required: true,
      content: {
        "application/json": {
          schema: {
            type: "object",
            additionalProperties: false,
            properties: { count: { type: "integer", default: 1 }, label: { type: "string" } },
            required: ["label"],
          },
        },
      },
    })
  })

  test("leaves reply objects open, and says what a time is without a pattern", () => {
    expect(item.responses["200"]?.content?.["application/json"]?.schema).toEqual({
      type: "object",
      properties: { id: { type: "string" }, at: { type: "string", format: "date-time" } },
      required: ["id", "at"],
    })
  })
})
