import { workflowJsonSchema } from "@signalbox/contracts/workflows/document"
import { describe, expect, it } from "vitest"
import { getWorkflow, parseWorkflow } from "./workflow-text.ts"

const good = `kind: Workflow
name: web-config
description: Writes a file
parameters:
  version: { type: string, pattern: "^v[0-9]+$", description: which }
  count: { type: integer, min: 1, max: 9, default: 3 }
concurrency: 25%
errorLimit: 1
timeout: 10m
save: [etc/web.conf, srv/web]
rollback: on-failure
retry: { attempts: 2, delay: 5s }
steps:
  - name: write config
    run: "printf '%s' '\${{ params.version }}' > etc/web.conf"
    env: { ROLE: "\${{ node.tags.role }}", COUNT: 3 }
    directory: srv
    user: www-data
    timeout: 30s
    outputLimit: 64KiB
    retry: { attempts: 3, delay: 2s }
    undo: systemctl restart web
  - run: [systemctl, restart, "\${{ node.name }}"]
`
const step = "steps:\n  - run: 'true'\n"
const head = "kind: Workflow\nname: a\n"

interface Bad {
  readonly what: string
  readonly text: string
  readonly line: number
  readonly path?: string
  readonly says: RegExp
}

const bad: readonly Bad[] = [
  { what: "no YAML", text: "kind: [Workflow\nname: a\n", line: 2, says: /flow sequence|]/i },
  { what: "a tab as indentation", text: `${head}steps:\n\t- run: x\n`, line: 4, says: /tab/i },
  { what: "a key twice", text: `${head}name: b\n${step}`, line: 3, says: /unique/i },
  { what: "two documents", text: `${head}${step}---\nkind: Workflow\n`, line: 5, says: /multiple documents/i },
  { what: "an empty text", text: "", line: 1, path: "", says: /expected object/i },
  { what: "a list", text: "- kind: Workflow\n", line: 1, path: "", says: /expected object/i },
  { what: "an unknown field", text: `${head}speed: 3\n${step}`, line: 3, path: "speed", says: /not a field/ },
  {
    what: "an unknown field of a step",
    text: `${head}steps:\n  - run: x\n    shel: sh\n`,
    line: 5,
    path: "steps[0].shel",
    says: /not a field/,
  },
  { what: "no steps", text: head, line: 1, path: "steps", says: /required/ },
  { what: "an empty list of steps", text: `${head}steps: []\n`, line: 3, path: "steps", says: />=1|at least/i },
  {
    what: "a step without run",
    text: `${head}steps:\n  - name: x\n`,
    line: 4,
    path: "steps[0]",
    says: /exactly one of run/,
  },
  {
    what: "an approval that is tried again",
    text: `${head}steps:\n  - approval: { template: a }\n    retry: { attempts: 2 }\n`,
    line: 5,
    path: "steps[0].retry",
    says: /asked once/,
  },
  {
    what: "an approval that is waited for too long",
    text: `${head}steps:\n  - approval: { template: a }\n    timeout: 21d\n`,
    line: 5,
    path: "steps[0].timeout",
    says: /at most/,
  },
  {
    what: "an undo of an approval",
    text: `${head}steps:\n  - approval: { template: a }\n    undo: "true"\n`,
    line: 5,
    path: "steps[0].undo",
    says: /changes nothing/,
  },
  { what: "a wrong kind", text: `kind: Rule\nname: a\n${step}`, line: 1, path: "kind", says: /Workflow/ },
  { what: "a bad name", text: `kind: Workflow\nname: A b\n${step}`, line: 2, path: "name", says: /a-z/ },
  {
    what: "a duration that is none",
    text: `${head}timeout: soon\n${step}`,
    line: 3,
    path: "timeout",
    says: /duration/,
  },
  {
    what: "a percentage over 100",
    text: `${head}concurrency: 120%\n${step}`,
    line: 3,
    path: "concurrency",
    says: /percentage/,
  },
  {
    what: "a fraction as a count",
    text: `${head}errorLimit: 1.5\n${step}`,
    line: 3,
    path: "errorLimit",
    says: /int|number/i,
  },
  {
    what: "a path upwards",
    text: `${head}save:\n  - etc/x\n  - ../../etc/shadow\n${step}`,
    line: 5,
    path: "save[1]",
    says: /upwards/,
  },
  {
    what: "a size over the limit",
    text: `${head}steps:\n  - run: x\n    outputLimit: 2MiB\n`,
    line: 5,
    path: "steps[0].outputLimit",
    says: /1024 KiB/,
  },
  {
    what: "a variable of ours",
    text: `${head}steps:\n  - run: x\n    env: { SIGNALBOX_PARAM_X: a }\n`,
    line: 5,
    path: "steps[0].env",
    says: /SIGNALBOX_/,
  },
  {
    what: "a pattern with look-ahead",
    text: `${head}parameters:\n  p: { pattern: "(?=a)b" }\n${step}`,
    line: 4,
    path: "parameters.p.pattern",
    says: /RE2/,
  },
  {
    what: "a default that doesn't fit",
    text: `${head}parameters:\n  p: { type: integer, default: x }\n${step}`,
    line: 4,
    path: "parameters.p.default",
    says: /not an integer/,
  },
  {
    what: "a bad parameter name",
    text: `${head}parameters:\n  Bad-Name: {}\n${step}`,
    line: 4,
    path: "parameters.Bad-Name",
    says: /a-z/,
  },
  { what: "an unknown tag of YAML", text: `${head}steps:\n  - run: !exec x\n`, line: 4, says: /tag/i },
  { what: "a NUL", text: `${head}steps:\n  - run: "a\\0b"\n`, line: 4, path: "steps[0].run", says: /NUL/ },
]

const badTemplates: readonly Bad[] = [
  {
    what: "an unknown parameter",
    text: `${head}steps:\n  - run: echo \${{ params.nope }}\n`,
    line: 4,
    path: "steps[0].run",
    says: /no parameter "nope"/,
  },
  {
    what: "an unknown name",
    text: `${head}steps:\n  - run: 'true'\n    directory: \${{ host.name }}\n`,
    line: 5,
    path: "steps[0].directory",
    says: /names nothing/,
  },
  {
    what: "a template that never ends",
    text: `${head}steps:\n  - run: [echo, "\${{ node.name"]\n`,
    line: 4,
    path: "steps[0].run[1]",
    says: /never closed/,
  },
  {
    what: "a template in a script of a list",
    text: `${head}steps:\n  - run: [sh, -c, "echo \${{ node.name }}"]\n`,
    line: 4,
    path: "steps[0].run[2]",
    says: /write `run` as a text/,
  },
  {
    what: "a template in arithmetic",
    text: `${head}steps:\n  - run: echo $(( \${{ node.name }} + 1 ))\n`,
    line: 4,
    path: "steps[0].run",
    says: /can't stand inside/,
  },
  {
    what: "a template in a quoted here-document",
    text: `${head}steps:\n  - run: |\n      cat <<'END'\n      \${{ node.name }}\n      END\n`,
    line: 4,
    path: "steps[0].run",
    says: /quoted delimiter/,
  },
  {
    what: "a secret in what approvers read",
    text: `${head}steps:\n  - approval: { template: a, scope: task, message: "\${{ secrets.x }}" }\n`,
    line: 4,
    path: "steps[0].approval.message",
    says: /people read/,
  },
  {
    what: "a node's name in what is asked once for all",
    text: `${head}steps:\n  - approval: { template: a, title: "\${{ node.name }}" }\n`,
    line: 4,
    path: "steps[0].approval.title",
    says: /scope: task/,
  },
  {
    what: "two tags with one variable",
    text: `${head}steps:\n  - run: echo \${{ node.tags.a-b }} \${{ node.tags.a.b }}\n`,
    line: 4,
    path: "steps[0].run",
    says: /SIGNALBOX_TAG_A_B/,
  },
]

describe("a workflow's text", () => {
  it("is read whole, with defaults", () => {
    const result = parseWorkflow(good)
    expect(result.ok && result.workflow.document).toMatchObject({
      name: "web-config",
      startTimeout: "30s",
      errorLimit: 1,
    })
  })

  it("has one digest for one meaning: comments, order and spacing don't count", () => {
    const other = `# a comment\nname: a\nkind: "Workflow"\nsteps: [{ run: 'true' }]\n`
    expect(getWorkflow(other).digest).toBe(getWorkflow(head + step).digest)
    expect(getWorkflow(`${head}description: x\n${step}`).digest).not.toBe(getWorkflow(head + step).digest)
  })

  it.each(bad)("refuses $what, with its line", ({ text, line, path, says }) => {
    const result = parseWorkflow(text)
    expect(result.ok).toBe(false)
    if (result.ok) return
    expect(result.onlyTemplates).toBe(false)
    expect(result.issues[0]).toMatchObject({ line, ...(path === undefined ? {} : { path }) })
    expect(result.issues[0]?.message).toMatch(says)
    expect(result.issues[0]?.column).toBeGreaterThan(0)
  })

  it.each(badTemplates)("refuses $what, with its line", ({ text, line, path, says }) => {
    const result = parseWorkflow(text)
    expect(result).toMatchObject({ ok: false, onlyTemplates: true, issues: [{ line, path }] })
    expect(result.ok ? "" : result.issues[0]?.message).toMatch(says)
    expect(() => getWorkflow(text)).toThrow(expect.objectContaining({ code: "workflows.invalid-template" }))
  })

  it("refuses 10 MB, an alias bomb and a text that nests too deeply, each within a second", () => {
    const begin = performance.now()
    expect(() => parseWorkflow("a".repeat(10_000_000))).toThrow(
      expect.objectContaining({ code: "workflows.document-too-large" }),
    )
    const levels = Array.from(
      { length: 12 },
      (_, i) => `a${i + 1}: &a${i + 1} [${Array(10).fill(`*a${i}`).join(", ")}]`,
    )
    expect(parseWorkflow(`a0: &a0 x\n${levels.join("\n")}\n`).ok).toBe(false)
    expect(parseWorkflow(`${head}steps: ${"[".repeat(100_000)}`).ok).toBe(false)
    expect(performance.now() - begin).toBeLessThan(3_000)
  })

  it("is described by a JSON Schema for editors", () => {
    expect(workflowJsonSchema()).toMatchObject({
      $schema: "https://json-schema.org/draft/2020-12/schema",
      required: ["kind", "name", "steps"],
      additionalProperties: false,
    })
  })
})
