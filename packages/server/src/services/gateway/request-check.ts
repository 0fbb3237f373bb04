import { AppError, type Issue } from "@signalbox/kernel/app-error"
import { Ajv2020 } from "ajv/dist/2020.js"
import type { ValidateFunction } from "ajv"
import { safePattern } from "../../safe-pattern.ts"
import type { DocumentPlace, ExternalInput, SentBody } from "../../router/external-ports.ts"
import type { ApiDocument, ApiOperation } from "./api-document.ts"
import { layersOf, listOf, membersOf, pointerStep, resolve, type Members, type Standing } from "./document-schemas.ts"
import { requestSchema, requestSchemas } from "./request-schema.ts"

const issuesShownMax = 20
const root = "service"

/**
 * Checks requests of one service against its document, each operation's schema compiled when it is first needed. Schemas come
 * from a person of the account: patterns are run by RE2, and nothing is loaded from elsewhere.
 */
export class RequestCheck {
  readonly #api: ApiDocument
  readonly #bodies: Ajv2020
  /** Parameters come as text: numbers and booleans are read from it. */
  readonly #parameters: Ajv2020

  constructor(api: ApiDocument) {
    this.#api = api
    const schemas = requestSchemas(api.schemas, api.dialect)
    const of = (make: (operation: ApiOperation) => unknown): Members => ({
      components: { schemas },
      operations: Object.fromEntries(api.operations.map((operation) => [operation.id, make(operation)])),
    })
    this.#bodies = open({}).addSchema(of(({ body }) => requestSchema(body?.schema ?? {}, api.dialect)) as object, root)
    this.#parameters = open({ coerceTypes: "array" }).addSchema(
      of((operation) => this.#parametersOf(operation)),
      root,
    )
  }

  /** Why an operation can't be checked; undefined where it can. */
  findFault(operation: string): string | undefined {
    try {
      this.#compiled(this.#bodies, `/operations/${operation}`)
      this.#compiled(this.#parameters, `/operations/${operation}`)
      return undefined
    } catch (cause) {
      return reasonOf(cause)
    }
  }

  /** Where a request doesn't fit. @throws gateway.invalid-document */
  findIssues(operation: ApiOperation, input: ExternalInput, sent: SentBody): Issue[] {
    const parameters = { path: { ...input.path }, query: splitQuery(operation, input.query) }
    const issues = this.#run(this.#parameters, `/operations/${operation.id}`, { value: parameters, at: [] })
    const { body } = operation
    if (!body) return issues
    if (!sent.isPresent)
      return body.required ? [...issues, { path: "body", message: "is required" }].slice(0, issuesShownMax) : issues
    if (!isDeclared(body.types, sent.type))
      return [...issues, { path: "body", message: `is one of ${body.types.join(", ")}` }].slice(0, issuesShownMax)
    if (!("body" in input)) return issues
    return [
      ...issues,
      ...this.#run(this.#bodies, `/operations/${operation.id}`, { value: input.body, at: ["body"] }),
    ].slice(0, issuesShownMax)
  }

  /** What the document says of a place in an operation's input, such as `["body", "customer", "name"]`. */
  findPlace(operation: ApiOperation, [part = "", ...rest]: readonly string[]): DocumentPlace {
    const own = `/operations/${pointerStep(operation.id)}`
    if (part === "body") {
      const { body } = operation
      if (!body) return { kind: "absent" }
      if (body.schema === undefined) return anything
      return this.#findInBody([{ pointer: own, schema: membersOf(body.schema) }], rest)
    }
    const [name, ...deeper] = rest
    if (name === undefined || deeper.length > 0) return { kind: "absent" }
    const parameter = operation.parameters.find((each) => each.in === part && each.name === name)
    if (!parameter) return { kind: "absent" }
    if (part === "headers" || !parameter.isPlain || !this.#isSimple(parameter.schema)) return anything
    return this.#placeAt(this.#parameters, [`${own}/properties/${part}/properties/${pointerStep(name)}`], [])
  }

  #findInBody(start: readonly Standing[], steps: readonly string[]): DocumentPlace {
    let layers = start.flatMap((standing) => layersOf(this.#api.schemas, standing))
    for (const step of steps) {
      const fields = layers.flatMap(({ pointer, schema }) => {
        const properties = membersOf(schema["properties"])
        if (!Object.hasOwn(properties, step)) return []
        return [{ pointer: `${pointer}/properties/${pointerStep(step)}`, schema: membersOf(properties[step]) }]
      })
      if (fields.length === 0) return isOpen(layers) ? anything : { kind: "absent" }
      layers = fields.flatMap((field) => layersOf(this.#api.schemas, field))
    }
    const required = layers.flatMap(({ schema }) => requiredOf(schema))
    return this.#placeAt(
      this.#bodies,
      layers.map(({ pointer }) => pointer),
      required,
    )
  }

  #placeAt(ajv: Ajv2020, pointers: readonly string[], required: readonly string[]): DocumentPlace {
    return {
      kind: "known",
      required,
      findIssues: (value) => {
        for (const pointer of pointers) {
          const issues = this.#run(ajv, pointer, { value, at: [] })
          if (issues.length > 0) return issues
        }
        return []
      },
    }
  }

  #run(ajv: Ajv2020, pointer: string, { value, at }: { readonly value: unknown; readonly at: string[] }): Issue[] {
    let validate: ValidateFunction
    try {
      validate = this.#compiled(ajv, pointer)
    } catch (cause) {
      throw new AppError("gateway.invalid-document", `${pointer} can't be checked: ${reasonOf(cause)}`, { cause })
    }
    try {
      if (validate(value)) return []
    } catch (cause) {
      // The stack's end, of a schema that contains itself.
      if (!(cause instanceof RangeError)) throw cause
      return [{ path: at.join("."), message: "nests too deep to be checked" }]
    }
    return (validate.errors ?? []).map(({ instancePath, message = "does not fit" }) => ({
      path: [...at, ...instancePath.split("/").slice(1)].join(".").replaceAll("~1", "/").replaceAll("~0", "~"),
      message,
    }))
  }

  #compiled(ajv: Ajv2020, pointer: string): ValidateFunction {
    const found = ajv.getSchema(`${root}#${pointer}`)
    if (!found) throw new Error("there is no such schema")
    return found as ValidateFunction
  }

  #parametersOf({ parameters }: ApiOperation): unknown {
    const of = (where: "path" | "query"): unknown => {
      const checked = parameters.filter((each) => each.in === where && each.isPlain && this.#isSimple(each.schema))
      return {
        type: "object",
        properties: Object.fromEntries(
          checked.map(({ name, schema }) => [name, requestSchema(schema, this.#api.dialect)]),
        ),
        required: checked.filter(({ required }) => required).map(({ name }) => name),
      }
    }
    return { type: "object", properties: { path: of("path"), query: of("query") } }
  }

  /** One text, or a list of them: how anything else is written in a parameter is not looked into. */
  #isSimple(schema: unknown, isItem = false): boolean {
    const found = resolve(this.#api.schemas, schema)
    const type = found?.["type"]
    if (type === "array") return !isItem && this.#isSimple(found?.["items"], true)
    return type === "string" || type === "integer" || type === "number" || type === "boolean"
  }
}

const anything: DocumentPlace = { kind: "anything" }

/** Whether it takes fields that it doesn't name, or it isn't known which those are. */
function isOpen(layers: readonly Standing[]): boolean {
  const keywords = ["anyOf", "oneOf", "if", "patternProperties"]
  return (
    layers.every(({ schema }) => schema["properties"] === undefined) ||
    layers.some(({ schema }) => keywords.some((keyword) => schema[keyword] !== undefined)) ||
    layers.some(({ schema: { additionalProperties: more } }) => more !== undefined && more !== false)
  )
}

/** What only the service writes is required of its replies. */
function requiredOf({ required, properties }: Members): string[] {
  return listOf(required).filter(
    (name): name is string => typeof name === "string" && membersOf(membersOf(properties)[name])["readOnly"] !== true,
  )
}

function open(options: { readonly coerceTypes?: "array" }): Ajv2020 {
  return new Ajv2020({
    ...options,
    ...{ strict: false, logger: false, allErrors: false, validateFormats: false, code: { regExp: safePattern } },
  })
}

/** Lists that are sent as one text. */
function splitQuery({ parameters }: ApiOperation, query: ExternalInput["query"]): Record<string, unknown> {
  const joined = new Set(
    parameters.filter(({ in: where, isJoined }) => where === "query" && isJoined).map((p) => p.name),
  )
  return Object.fromEntries(
    Object.entries(query).map(([name, value]) => [
      name,
      joined.has(name) && typeof value === "string" && value.includes(",") ? value.split(",") : value,
    ]),
  )
}

function isDeclared(types: readonly string[], type: string): boolean {
  const [family] = type.split("/")
  return types.some((each) => each === type || each === "*/*" || each === `${family}/*`)
}

function reasonOf(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).slice(0, 300)
}
