import { operations } from "@signalbox/contracts/operations"
import { describe, expect, test } from "vitest"
import { makeOperationPaths } from "./operation-paths.ts"

const paths = makeOperationPaths(operations)

describe("operation paths", () => {
  test("every operation is found by its own method and path, with its fields", () => {
    for (const operation of operations) {
      const path = operation.path.replaceAll(/\{([a-zA-Z]+)\}/g, "value-of-$1")
      const match = paths.find(operation.method, path)
      expect(match?.operation.name).toBe(operation.name)
      for (const [name, value] of Object.entries(match?.fields ?? {})) expect(value).toBe(`value-of-${name}`)
    }
  })

  test("fields are decoded; a verb belongs to the path, not to the field", () => {
    expect(paths.find("GET", "/v1/nodes/web%2F1")?.fields).toEqual({ node: "web/1" })
    expect(paths.find("POST", "/v1/executions/exe_1:pause")?.operation.name).toBe("executions.pause")
    expect(paths.find("GET", "/v1/why/a%3Ab")?.fields).toEqual({ id: "a:b" })
  })

  test("what nobody declared is found nowhere", () => {
    for (const path of ["/v1/nothing", "/v1/nodes/", "/v1/nodes/a/b/c", "/v1/nodes/%E0%A4%A"]) {
      expect(paths.find("GET", path)).toBeUndefined()
    }
    expect(paths.find("POST", "/v1/executions/x:explode")).toBeUndefined()
    expect(paths.methods("/v1/nodes/a").toSorted()).toEqual(["DELETE", "GET", "PATCH"])
  })
})
