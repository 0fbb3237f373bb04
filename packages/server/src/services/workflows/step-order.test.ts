import { stepOrder, taskOrder } from "@signalbox/contracts/fleet/agent-protocol"
import { expect, test } from "vitest"
import { createOrderBuilder, type OrderBuilderOptions } from "./task-order.ts"
import { getWorkflow, parseWorkflow } from "./workflow-text.ts"

const node = { id: "nod_1", name: "web-1", tags: { role: "web" } }

function builderOf(fields: object, options?: OrderBuilderOptions) {
  const text = JSON.stringify({ kind: "Workflow", name: "t", parameters: { v: {} }, ...fields })
  return createOrderBuilder(getWorkflow(text).document, { v: "1.2" }, options)
}

function stepOf(step: object, options?: OrderBuilderOptions) {
  const order = builderOf({ steps: [{ run: "true", id: "first" }, step] }, options).build(node)
  taskOrder.parse(order)
  return order.steps[1]
}

function faultsOf(...steps: object[]): string[] {
  const result = parseWorkflow(JSON.stringify({ kind: "Workflow", name: "t", steps }))
  return result.ok ? [] : result.issues.map(({ path, message }) => `${path}: ${message}`)
}

test("W2: each kind of step becomes an order of its kind", () => {
  const digest = "a".repeat(64)
  const artifacts = { "app-1.2.tgz": { digest, bytes: 7, path: `/v1/artifacts/${digest}/content` } }
  expect(stepOf({ file: { path: "/etc/${{ node.name }}", content: "v=${{ params.v }}", mode: "0600" } })).toMatchObject(
    {
      file: { path: "etc/web-1", content: "v=1.2", mode: 0o600 },
    },
  )
  expect(stepOf({ file: { path: "a", content: "${{ params.v }}", literal: true } })?.file?.content).toBe(
    "${{ params.v }}",
  )
  expect(stepOf({ file: { path: "a", artifact: "app-1.2.tgz" } }, { artifacts })?.file?.artifact).toEqual(
    artifacts["app-1.2.tgz"],
  )
  expect(stepOf({ file: { path: "a", absent: true } })?.file).toEqual({ path: "a", absent: true })
  expect(stepOf({ service: { name: "nginx@${{ node.tags.role }}", state: "restarted" } })?.service).toEqual({
    name: "nginx@web",
    state: "restarted",
  })
  expect(stepOf({ wait: "90s" })?.wait).toEqual({ milliseconds: 90_000 })
  expect(stepOf({ wait: { port: "${{ params.v }}" } })?.wait).toEqual({ port: "1.2", host: "127.0.0.1" })
  expect(stepOf({ wait: { path: "/run/ready" } })?.wait).toEqual({ path: "run/ready" })
  expect(stepOf({ http: { url: "https://lb/${{ node.name }}" } })).toMatchObject({ server: "http" })
  expect(stepOf({ operation: { name: "nodes.update" } })).toMatchObject({ server: "operation" })
  expect(stepOf({ playbook: { path: "/p.yml", variables: { a: "${{ params.v }}", n: 1 } } })?.playbook).toEqual({
    path: "p.yml",
    variables: { a: "1.2", n: 1 },
    tags: [],
  })
})

test("W2: secrets and outputs of steps are left for the node, which gets the names of the secrets it needs and no more", () => {
  const builder = builderOf({
    steps: [
      { run: "make", id: "build", outputs: { version: "result.stdout" } },
      { run: "deploy ${{ steps.build.outputs.version }} '${{ secrets.token }}'", undo: ["back", "${{ secrets.old }}"] },
      { file: { path: "a", content: "k=${{ secrets.key }}\n" } },
      {
        http: { url: "https://lb/", headers: { authorization: "Bearer ${{ secrets.lb }}" } },
        undo: { http: { url: "https://${{ secrets.lb }}/" } },
      },
    ],
  })
  expect(builder.secretNames).toEqual(["token", "old", "key"])
  const [, deploy, file, http] = builder.build(node).steps
  expect(deploy?.command).toEqual({
    shell: `deploy "\${SIGNALBOX_STEP_BUILD__VERSION}" ''"\${SIGNALBOX_SECRET_TOKEN}"''`,
  })
  expect(deploy?.environment).toMatchObject({
    SIGNALBOX_STEP_BUILD__VERSION: [{ step: "build", output: "version" }],
    SIGNALBOX_SECRET_TOKEN: [{ secret: "token" }],
  })
  expect(deploy?.undo).toEqual({ argv: ["back", [{ secret: "old" }]] })
  expect(file?.file?.content).toEqual(["k=", { secret: "key" }, "\n"])
  expect(JSON.stringify(http)).not.toContain("lb")
})

test("W2: an order has facts where a step has a condition, with the tags it names, which may be missing", () => {
  const builder = builderOf({
    steps: [{ run: "true", when: `node.tags.role == "web" && "dc" in node.tags && params.v != ""` }],
  })
  expect(builder.tagKeys).toEqual([])
  expect(builder.optionalTagKeys).toEqual(["role", "dc"])
  expect(builder.build(node).facts).toEqual({
    params: { v: "1.2" },
    node: { id: "nod_1", name: "web-1", tags: { role: "web" } },
  })
  expect(builderOf({ steps: [{ run: "true" }] }).build(node).facts).toBeUndefined()
})

test("an order of commands alone is what an agent of protocol 1.0 knows", () => {
  const known = [
    "name",
    "command",
    "environment",
    "directory",
    "user",
    "timeoutMilliseconds",
    "outputKeptBytes",
    "attemptsMax",
    "retryDelayMilliseconds",
    "undo",
  ]
  const order = builderOf({
    save: ["etc"],
    steps: [{ run: "true", undo: "false", user: "www", retry: { attempts: 3, delay: "1s" } }],
  }).build(node)
  expect(Object.keys(order).toSorted()).toEqual(["save", "steps", "timeoutMilliseconds"])
  expect(Object.keys(stepOrder.parse(order.steps[0])).filter((key) => !known.includes(key))).toEqual([])
})

test.each([
  ["a member of another kind", { file: { path: "a", content: "" }, user: "www" }, "user: goes with run and playbook"],
  ["an undo that isn't needed", { service: { name: "a", state: "started" }, undo: "x" }, "undo: isn't needed"],
  ["two kinds", { run: "true", wait: "1s" }, "exactly one of run"],
  ["a condition that is none", { run: "true", when: "params.v ==" }, "steps[0].when: "],
  ["a condition over what isn't there", { run: "true", when: "parms.v == 1" }, "steps[0].when: "],
  ["an output over what isn't there", { run: "true", outputs: { a: "stdout" } }, "steps[0].outputs.a: "],
  ["a secret in a path", { file: { path: "/${{ secrets.a }}", content: "" } }, "a secret can't stand here"],
  ["an output of no step", { run: "echo ${{ steps.a.outputs.b }}" }, `no step has the id "a"`],
  ["an output of itself", { id: "a", run: "echo ${{ steps.a.outputs.b }}" }, "does not come before"],
  [
    "names with one variable",
    { run: ["x", "${{ secrets.a-b }}", "${{ secrets.a.b }}"] },
    "would both be SIGNALBOX_SECRET_A_B",
  ],
])("refuses %s", (_, step, says) => {
  expect(faultsOf(step).join("\n")).toContain(says)
})

test("refuses an id twice", () => {
  expect(faultsOf({ run: "a", id: "x" }, { run: "b", id: "x" })).toEqual([
    `steps[1].id: another step has the id "x" already`,
  ])
})
