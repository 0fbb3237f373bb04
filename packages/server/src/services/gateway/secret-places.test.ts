import { describe, expect, test } from "vitest"
import { readApiDocument } from "./api-document.ts"
import { secretsOf } from "./secret-places.ts"

const text = { type: "string" }
const password = { type: "string", format: "password" }

const schemas = {
  Tree: {
    type: "object",
    properties: {
      name: text,
      key: { ...text, writeOnly: true },
      children: { type: "array", items: { $ref: "#/components/schemas/Tree" } },
    },
  },
  Login: {
    allOf: [
      { type: "object", properties: { user: text } },
      { type: "object", properties: { pin: password } },
    ],
  },
  Choice: {
    oneOf: [
      { type: "object", properties: { a: text } },
      { type: "object", properties: { a: password } },
    ],
  },
  Open: { type: "object", properties: { a: text }, additionalProperties: { "x-signalbox-secret": true } },
  Pair: { type: "array", prefixItems: [text, password], items: text },
  Plain: {
    type: "object",
    properties: { a: text, self: { $ref: "#/components/schemas/Plain" } },
    additionalProperties: true,
  },
}

function secretsIn(content: unknown, more: { parameters?: unknown[]; securitySchemes?: unknown } = {}) {
  const { parameters = [], securitySchemes = {} } = more
  const api = readApiDocument({
    openapi: "3.1.0",
    info: { title: "t", version: "1" },
    components: { schemas, securitySchemes },
    paths: { "/a/{id}": { post: { operationId: "a", parameters, ...(content ? { requestBody: { content } } : {}) } } },
  })
  if ("issues" in api) throw new Error(JSON.stringify(api.issues))
  const [operation] = api.operations
  return operation && secretsOf(api, operation)
}

const json = (name: string) => ({ "application/json": { schema: { $ref: `#/components/schemas/${name}` } } })
const empty = { path: {}, query: {}, headers: {} }

/** What is left of a body, and which places were replaced. */
function hide(name: string, body: unknown) {
  const found: string[] = []
  const input = { ...empty, body }
  const shown = secretsIn(json(name))?.(input, (_value, place) => {
    found.push(place.join("."))
    return "-"
  }) as typeof input | undefined
  return { body: shown?.body, found, isSame: shown === input }
}

describe("D6: what a document calls secret", () => {
  test.each([
    [
      "Tree",
      { name: "a", children: [{ key: "b", children: [{ key: 7 }] }] },
      ["body.children.0.key", "body.children.0.children.0.key"],
    ],
    ["Login", { user: "a", pin: "b" }, ["body.pin"]],
    ["Choice", { a: "x" }, ["body.a"]],
    ["Open", { a: "x", b: { c: 1 } }, ["body.b"]],
    ["Pair", ["a", "b", "c"], ["body.1"]],
    ["Login", "user=a&pin=b", ["body"]],
  ])("of %s %j", (name, body, found) => {
    expect(hide(name, body)).toMatchObject({ found, isSame: false })
  })

  test("everything else stays as it is", () => {
    expect(hide("Tree", { name: "a", children: [{ name: "b" }] })).toEqual({
      ...{ body: { name: "a", children: [{ name: "b" }] }, found: [], isSame: true },
    })
    expect(hide("Login", { user: "a", pin: "b" }).body).toEqual({ user: "a", pin: "-" })
    expect(hide("Open", JSON.parse('{"__proto__":"x"}')).body).toEqual(JSON.parse('{"__proto__":"-"}'))
    expect(secretsIn(json("Plain"))).toBeUndefined()
    expect(secretsIn(undefined)).toBeUndefined()
  })

  test("a body of another kind is one secret where a schema of the operation has any", () => {
    const replace = secretsIn({
      ...json("Plain"),
      "application/x-www-form-urlencoded": { schema: { $ref: "#/components/schemas/Login" } },
    })
    expect(replace?.({ ...empty, body: "user=a&pin=b" }, () => "-")).toMatchObject({ body: "-" })
    expect(replace?.({ ...empty, bodyBase64: "AAAA" }, () => "-")).toMatchObject({ bodyBase64: "-" })
    expect(replace?.({ ...empty, body: { a: "x" } }, () => "-")).toMatchObject({ body: { a: "x" } })
  })

  test("parameters, and keys that security schemes name", () => {
    const replace = secretsIn(undefined, {
      parameters: [
        { name: "id", in: "path", required: true, schema: password },
        { name: "code", in: "query", "x-signalbox-secret": true, schema: text },
        { name: "plain", in: "query", schema: text },
        { name: "X-Pin", in: "header", schema: password },
      ],
      securitySchemes: {
        byQuery: { type: "apiKey", in: "query", name: "api_key" },
        byHeader: { type: "apiKey", in: "header", name: "X-Api-Key" },
      },
    })
    const input = {
      path: { id: "1" },
      query: { code: "2", api_key: ["3", "4"], plain: "5" },
      headers: { "X-PIN": "6", "x-api-key": "7", accept: "8" },
    }
    expect(replace?.(input, () => "-")).toEqual({
      path: { id: "-" },
      query: { code: "-", api_key: "-", plain: "5" },
      headers: { "X-PIN": "-", "x-api-key": "-", accept: "8" },
    })
  })
})
