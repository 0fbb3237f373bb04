import { isAppError } from "@signalbox/kernel/app-error"
import { expect, test } from "vitest"
import { declaredKinds } from "./declared-kinds.ts"
import { groupText } from "./group-text.ts"
import { readDocuments, shiftIssues, type WorkflowSource } from "./read-documents.ts"

function issuesOf(text: string): string[] {
  try {
    readDocuments(text, "file.yaml")
  } catch (error) {
    if (isAppError(error) && error.code === "cli.invalid-documents") {
      return error.issues.map(({ line, path, message }) => `${line} ${path}: ${message}`)
    }
    throw error
  }
  return []
}

const workflow = "kind: Workflow\nname: a\nsteps:\n  - run: x\n"

test("a workflow keeps its text with its comments, and the line at which it begins", () => {
  const documents = readDocuments(
    `# first\n${workflow}---\nkind: NodeGroup\nname: g\nnodes: [b, a]\n--- # two\n# c\n\n${workflow}`,
    "f",
  )
  expect(documents).toEqual([
    { kind: "Workflow", name: "a", text: `# first\n${workflow}`, line: 1 },
    {
      kind: "NodeGroup",
      name: "g",
      line: 7,
      declared: declaredKinds["NodeGroup"],
      value: { name: "g", nodes: ["b", "a"] },
    },
    { kind: "Workflow", name: "a", text: `# c\n\n${workflow}`, line: 11 },
  ])
  const last = documents[2] as WorkflowSource
  expect(shiftIssues([{ path: "steps", message: "bad", line: 5, column: 1 }], last)).toEqual([
    { path: "steps", message: "bad", line: 15, column: 1 },
  ])
})

test("a document that begins on the line of its marker, and markers without content", () => {
  const documents = readDocuments("---\n---\n--- {kind: Workflow, name: a, steps: [{run: x}]}\n...\n", "f")
  expect(documents).toMatchObject([{ name: "a", text: "{kind: Workflow, name: a, steps: [{run: x}]}\n", line: 3 }])
})

test("unknown kinds, missing names and wrong groups are named with their line, all at once", () => {
  const text =
    "kind: Deployment\n---\nname: x\n---\nkind: Workflow\n---\n- a\n---\nkind: NodeGroup\nname: g\nquery: a\nnodez: []\n"
  expect(issuesOf(text)).toEqual([
    expect.stringMatching(/^1 kind: kind is Workflow, NodeGroup, .* or [A-Z][A-Za-z]+, not "Deployment"$/),
    expect.stringMatching(/^3 kind: kind is Workflow, NodeGroup, .* or [A-Z][A-Za-z]+, it has none$/),
    "5 name: a workflow needs a name of a-z, 0-9, dot, dash and underscore",
    "7 : a document is a mapping with a kind",
    expect.stringMatching(/^9 : Unrecognized key: "nodez"/),
  ])
})

test("broken YAML is named with its line; an empty file is no success", () => {
  expect(issuesOf("kind: Workflow\nname: [a\n")[0]).toMatch(/^\d+ : /)
  expect(() => readDocuments("# nothing\n", "f")).toThrow("f has no document")
  expect(() => readDocuments("", "f")).toThrow("f has no document")
})

test("groups compare by what they say, not by how they are written", () => {
  expect(groupText({ name: "g", nodes: ["b", "a", "b"] })).toBe(
    groupText({ name: "g", description: undefined, nodes: ["a", "b"] }),
  )
})

test("P9: W8: schedules and windows are read whole, with the line of what is wrong", () => {
  const text = `kind: Schedule
name: nightly
cron: 0 3 * * *
zone: Europe/Berlin
call: { input: { workflow: work, targets: { all: true } } }
---
kind: Window
name: nights
cron: 0 22 * * *
zone: Europe/Berlin
duration: 4h
`
  const [schedule, window] = readDocuments(text, "f")
  expect(schedule).toMatchObject({ value: { catchUp: "skip", call: { operation: "executions.create" } } })
  expect(window).toMatchObject({ value: { cutoff: "0s", excludedDates: [] } })
  expect(issuesOf(text.replace("Europe/Berlin", "Berlin"))).toEqual([
    expect.stringMatching(/^4 zone: write a zone of the IANA database/),
  ])
})

test("P9: W8: schedules and windows compare by what they say", () => {
  const texts = (duration: string) =>
    readDocuments(`kind: Window\nname: w\ncron: 0 1 * * *\nzone: UTC\nduration: ${duration}\n`, "f").map((document) =>
      "declared" in document ? document.declared.text(document.value) : "",
    )
  expect(texts("90m")).toEqual(texts("PT1H30M"))
  expect(texts("90m")).not.toEqual(texts("91m"))
})

test("A13: products and portfolios are read whole, and compare by what they say", () => {
  const texts = (constraints: string, parameters = "a: {}, b: { type: integer }") =>
    readDocuments(
      `kind: Product
name: web-node
parameters: { ${parameters} }
provisioner: maker
---
kind: Portfolio
name: web
products: { web-node: { ${constraints} } }
`,
      "f",
    ).map((document) => ("declared" in document ? document.declared.text(document.value) : ""))
  const [product, portfolio] = texts("lifetimeMax: 2d, liveMax: 3")
  expect(texts("liveMax: 3, parameters: {}, lifetimeMax: 48h", "b: { type: integer }, a: {}")).toEqual([
    product,
    portfolio,
  ])
  expect(texts("lifetimeMax: 2d, liveMax: 4")).toEqual([product, expect.not.stringMatching("liveMax: 3")])
  expect(issuesOf("kind: Portfolio\nname: p\nproducts: { a: { quota: 3 } }\n")).toEqual([
    expect.stringContaining("products.a"),
  ])
})

test("A2: approval templates, groups and associations are read whole, and compare by what they say", () => {
  const texts = (expiresAfter: string, member: string) =>
    readDocuments(
      `kind: ApprovalGroup
name: leads
members: [{ ${member} }]
---
kind: ApprovalTemplate
name: two-eyes
levels:
  - { name: leads, group: leads, strategy: { kind: quorum, count: 2 }, expiresAfter: ${expiresAfter} }
---
kind: Association
name: rollouts
template: two-eyes
selector: { operation: executions.create }
`,
      "f",
    ).map((document) => ("declared" in document ? document.declared.text(document.value) : ""))
  expect(texts("1d", "mail: a@example.org")).toEqual(texts("24h", "mail: a@example.org, weight: 1, veto: false"))
  expect(texts("1d", "mail: a@example.org")).not.toEqual(texts("2d", "mail: a@example.org"))
  expect(issuesOf("kind: ApprovalGroup\nname: g\nmembers: [{ name: nobody }]\n")).toEqual([
    expect.stringContaining("a member has a principal, a mail address or a channel"),
  ])
})
