import { spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { createOrderBuilder } from "./task-order.ts"
import { getWorkflow } from "./workflow-text.ts"

function orderOf(fields: object, parameters: Record<string, string>, tags: Record<string, string> = {}) {
  const declared = Object.fromEntries(Object.keys(parameters).map((name) => [name, { type: "string" }]))
  const text = JSON.stringify({ kind: "Workflow", name: "t", parameters: declared, ...fields })
  return createOrderBuilder(getWorkflow(text).document, parameters).build({ id: "nod_1", name: "web-1", tags })
}

/** Runs the first step as an agent does. */
function runFirst(order: ReturnType<typeof orderOf>, cwd: string) {
  const [step] = order.steps
  if (!step?.command) throw new Error("an order has a step with a command")
  const words = "shell" in step.command ? ["/bin/sh", "-c", step.command.shell] : step.command.argv.map(String)
  const env = { PATH: process.env["PATH"] ?? "", ...(step.environment as Record<string, string>) }
  const result = spawnSync(words[0] ?? "", words.slice(1), { cwd, env, encoding: "utf8" })
  return { ...result, shell: words.at(-1) }
}

const places = [
  ["bare", "printf %s ${{ params.p }}"],
  ["inside single quotes", "printf %s '${{ params.p }}'"],
  ["inside double quotes", 'printf %s "${{ params.p }}"'],
  ["in a command substitution", 'printf %s "$(printf %s ${{ params.p }}; printf .)"'],
  ["in a command substitution inside quotes", `printf %s "$(printf '%s' '\${{ params.p }}'; printf .)"`],
  ["in backticks", 'printf %s "`printf %s ${{ params.p }}; printf .`"'],
  ["in a here-document", "cat <<END\n${{ params.p }}\nEND"],
  ["after a comment with a quote", "# don't\nprintf %s ${{ params.p }}"],
  ["after an escaped quote", "printf %s%s \\' ${{ params.p }}"],
  ["as an assignment", 'x=${{ params.p }}; printf %s "$x"'],
  ["in a case", "case x in x) printf %s ${{ params.p }} ;; esac"],
] as const

const nasty = [
  "v1",
  "a b  c",
  "'; touch pwned; '",
  '"; touch pwned; "',
  "$(touch pwned)",
  "`touch pwned`",
  "a\ntouch pwned\n",
  "\\",
  "'",
  '"',
  "${PATH}",
  "*",
  "-n",
  "END\ntouch pwned",
  "é😀",
]

describe("a task's order", () => {
  const cwd = mkdtempSync(join(tmpdir(), "signalbox order "))
  const check = (run: string, value: string): void => {
    const result = runFirst(orderOf({ steps: [{ run }] }, { p: value }), cwd)
    expect(existsSync(join(cwd, "pwned")), `${run} with ${JSON.stringify(value)} became ${result.shell}`).toBe(false)
    const quoteBefore = run.includes("\\'") ? "'" : ""
    const dot = run.includes("printf .") ? "." : ""
    const end = run.startsWith("cat") ? "\n" : ""
    expect(result.stdout, `${run} became ${result.shell}`).toBe(`${quoteBefore}${value}${dot}${end}`)
  }

  it.each(places)("a parameter %s can't inject shell", (_, run) => {
    for (const value of nasty) check(run, value)
  })

  it("no text is parsed by the shell, wherever the template stands", { timeout: 60_000 }, () => {
    // No command that writes: a text that runs what its own command wrote does so with any value.
    const piece = fc.constantFrom(
      "'",
      '"',
      "`",
      "$(",
      ")",
      "\\",
      " ",
      "\n",
      "#",
      "<<E\n",
      "E\n",
      ": ",
      ";",
      "x",
      "{",
      "}",
    )
    const values = fc.constantFrom(
      "'; touch pwned; '",
      '"; touch pwned; "',
      "$(touch pwned)",
      "`touch pwned`",
      "\ntouch pwned\n",
    )
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 12 }),
        fc.array(piece, { maxLength: 4 }),
        values,
        (before, after, value) => {
          const run = `${before.join("")}\${{ params.p }}${after.join("")}`
          let order
          try {
            order = orderOf({ steps: [{ run }] }, { p: value })
          } catch {
            return
          }
          rmSync(join(cwd, "pwned"), { force: true })
          const { shell } = runFirst(order, cwd)
          expect(existsSync(join(cwd, "pwned")), `${run} became ${shell}`).toBe(false)
        },
      ),
      { numRuns: 400 },
    )
    rmSync(cwd, { recursive: true, force: true })
  })

  it("fills words, paths and variables of its node", () => {
    const order = orderOf(
      {
        save: ["/etc/${{ node.name }}.conf"],
        steps: [
          {
            run: ["echo", "${{ params.p }}", "${{ node.tags.role }}"],
            env: { WHO: "${{ node.id }}/${{ params.p }}" },
            directory: "srv/${{ params.p }}",
            outputLimit: "1KiB",
            undo: "echo back ${{ node.name }}",
          },
        ],
      },
      { p: "a'b" },
      { role: "db" },
    )
    expect(order).toMatchObject({
      save: ["etc/web-1.conf"],
      timeoutMilliseconds: 3_600_000,
      steps: [
        {
          name: "step 1",
          command: { argv: ["echo", "a'b", "db"] },
          directory: "srv/a'b",
          outputKeptBytes: 1024,
          undo: { shell: 'echo back "${SIGNALBOX_NODE_NAME}"' },
          environment: {
            WHO: "nod_1/a'b",
            SIGNALBOX_PARAM_P: "a'b",
            SIGNALBOX_NODE_NAME: "web-1",
            SIGNALBOX_TAG_ROLE: "db",
          },
        },
      ],
    })
  })

  it("refuses a missing tag and a path that a value leads upwards", () => {
    const refused = expect.objectContaining({ code: "workflows.invalid-template" })
    expect(() => orderOf({ steps: [{ run: "echo ${{ node.tags.role }}" }] }, {})).toThrow(refused)
    expect(() => orderOf({ steps: [{ run: "x", directory: "srv/${{ params.p }}" }] }, { p: "../.." })).toThrow(refused)
  })
})
