import { nodesList, nodesUpdate } from "@signalbox/contracts/fleet/operations"
import { tasksGet } from "@signalbox/contracts/workflows/operations"
import { expect, test } from "vitest"
import { requestTarget } from "./request-target.ts"

test("path fields go into the path, encoded; the rest of a GET into the query", () => {
  expect(requestTarget(tasksGet, { execution: "exe_1", task: "a/b c" })).toEqual({
    method: "GET",
    path: "/v1/executions/exe_1/tasks/a%2Fb%20c",
  })
  expect(requestTarget(nodesList, { query: "role in (a,b)", limit: 5, cursor: undefined })).toEqual({
    method: "GET",
    path: "/v1/nodes?query=role+in+%28a%2Cb%29&limit=5",
  })
})

test("the rest of a change goes into the body", () => {
  expect(requestTarget(nodesUpdate, { node: "web-1", tags: { role: null } })).toEqual({
    method: "PATCH",
    path: "/v1/nodes/web-1",
    body: '{"tags":{"role":null}}',
  })
})

test.each([undefined, "", ".", "..", {}])("a path field that is %j can't be sent", (node) => {
  expect(() => requestTarget(nodesUpdate, { node })).toThrow(expect.objectContaining({ code: "request.invalid-input" }))
})
