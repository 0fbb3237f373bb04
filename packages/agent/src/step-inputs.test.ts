import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { agentLimits } from "@signalbox/contracts/fleet/agent-protocol"
import { parseOutputs } from "./output-file.ts"
import { makeNode, stepOf, taskOf, type TestNode } from "./step-kit.fixture.ts"
import { retryDelay } from "./step-runner.ts"

let node: TestNode
beforeEach(async () => {
  node = await makeNode({ outputFlushMilliseconds: 5 })
})
afterEach(() => node.remove())

const read = (path: string) => readFileSync(join(node.root, path), "utf8")
const sh = (shell: string, rest: Parameters<typeof stepOf>[0] = {}) => stepOf({ command: { shell }, ...rest })

describe("texts filled on the node", () => {
  const secrets = { token: "hunter2 & $HOME 'quoted'" }

  test("X5: a secret reaches files, words and variables, and nothing else", async () => {
    const { outcome } = await node.run(
      taskOf([
        stepOf({ file: { path: "secret", content: ["token=", { secret: "token" }, "\n"] } }),
        stepOf({ command: { argv: ["sh", "-c", 'printf %s "$1" > word', "sh", [{ secret: "token" }]] } }),
        sh(
          'printf %s "$T" > variable; echo "shown: $T"; echo "$T" >&2; for c in a b; do printf %s "$T"; done; exit 3',
          {
            environment: { T: [{ secret: "token" }] },
            id: "show",
            continueOnFailure: true,
          },
        ),
        sh('echo "given=$T" >> "$SIGNALBOX_OUTPUT"; echo "$T"', {
          environment: { T: [{ secret: "token" }] },
          id: "give",
          outputs: { seen: "result.stdout + '!'" },
        }),
        stepOf({ command: { argv: [[{ secret: "token" }]] } }),
      ]),
      { secrets },
    )
    expect(read("secret")).toBe(`token=${secrets.token}\n`)
    expect(read("word")).toBe(secrets.token)
    expect(read("variable")).toBe(secrets.token)
    expect(outcome.steps[2]?.stdout?.head).toBe("shown: ***\n******")
    expect(outcome.steps[2]?.stderr?.head).toBe("***\n")
    expect(outcome.steps[3]?.outputs).toEqual({ given: "***", seen: "***!" })
    expect(outcome.message).toContain('can\'t start "***"')
    const everything = JSON.stringify([outcome, node.frames]) + node.journalText()
    for (const trace of ["hunter2", "quoted"]) expect(everything).not.toContain(trace)
    expect(node.frames.some((frame) => frame.type === "output" && frame.text.includes("***"))).toBe(true)
  })

  test("X5: a secret that is not there stops the task before anything is changed", async () => {
    const steps = [sh("touch early"), stepOf({ file: { path: "secret", content: [{ secret: "token" }] } })]
    const { outcome } = await node.run(taskOf(steps))
    expect(outcome).toMatchObject({ state: "failed", class: "refused" })
    expect(outcome.message).toContain('the secret "token" is not known here')
    expect(existsSync(join(node.root, "early"))).toBe(false)
  })

  test("outputs pass from $SIGNALBOX_OUTPUT and expressions to later steps and undos", async () => {
    const steps = [
      sh('printf "port=8080\\nlist<<END\\none\\ntwo\\nEND\\n" > "$SIGNALBOX_OUTPUT"; echo "v1.2"; exit 0', {
        id: "build",
        outputs: { version: "result.stdout", doubled: "int(result.outputs.port) * 2", ok: "result.exitCode == 0" },
      }),
      sh('echo "$V/$L" > use; echo "made=$V" > "$SIGNALBOX_OUTPUT"', {
        id: "use",
        environment: {
          V: [{ step: "build", output: "version" }, "-", { step: "build", output: "doubled" }],
          L: [{ step: "build", output: "list" }],
          OWN: [{ step: "use", output: "made" }],
        },
        undo: { shell: 'echo "$OWN" > undone' },
      }),
    ]
    const { key, outcome } = await node.run(taskOf(steps))
    expect(outcome).toMatchObject({ state: "succeeded" })
    expect(outcome.steps[0]?.outputs).toEqual({
      port: "8080",
      list: "one\ntwo",
      version: "v1.2",
      doubled: "16160",
      ok: "true",
    })
    expect(read("use")).toBe("v1.2-16160/one\ntwo\n")
    expect(await node.undo(key)).toMatchObject({ state: "rolled-back" })
    expect(read("undone")).toBe("v1.2-16160\n")
  })

  test("an output that is missing or too long fails its step with the reason", async () => {
    const missing = await node.run(
      taskOf([sh("true", { id: "a" }), stepOf({ command: { argv: ["echo", [{ step: "a", output: "x" }]] } })]),
    )
    expect(missing.outcome.message).toContain('the output "x" of step "a" is not known: it gave no such output')
    const long = `head -c ${agentLimits.outputValueLengthMax + 1} /dev/zero | tr '\\0' x`
    const tooLong = await node.run(taskOf([sh(`echo "x=$(${long})" > "$SIGNALBOX_OUTPUT"`)]))
    expect(tooLong.outcome.message).toContain("more than 8192 characters")
    const strange = await node.run(taskOf([sh('echo nonsense > "$SIGNALBOX_OUTPUT"')]))
    expect(strange.outcome.message).toContain("line 1 is not NAME=VALUE")
    const linked = await node.run(taskOf([sh('ln -sf /etc/passwd "$SIGNALBOX_OUTPUT"')]))
    expect(linked.outcome.message).toContain("removed or replaced")
  })

  test("a heredoc without an end and a name that is none are refused", () => {
    expect(parseOutputs("a=1\n\na=2=3\nb<<X\n\nX\n")).toEqual({ a: "2=3", b: "" })
    for (const text of ["b<<X\nno end", "1a=x", "=x", "b<<\nx\n"])
      expect(() => parseOutputs(text)).toThrow("can't be read")
  })
})

describe("conditions", () => {
  const facts = {
    params: { level: 3, on: true },
    node: { id: "nod_1", name: "web-1", tags: { role: "web" } },
  }

  test("a step runs where its condition holds, and later ones see what came of it", async () => {
    const steps = [
      sh("touch yes", { when: "params.level > 2 && node.tags.role == 'web'", id: "yes" }),
      sh("touch no", { when: "node.name == 'db-1'", id: "no", undo: { shell: "touch wrong" } }),
      sh("touch after", { when: "steps.yes.state == 'succeeded' && steps.no.state == 'skipped' && !steps.no.changed" }),
    ]
    const { key, outcome } = await node.run(taskOf(steps, { facts }))
    expect(outcome.steps.map(({ state }) => state)).toEqual(["succeeded", "skipped", "succeeded"])
    expect(["yes", "no", "after"].map((path) => existsSync(join(node.root, path)))).toEqual([true, false, true])
    await node.undo(key)
    expect(existsSync(join(node.root, "wrong"))).toBe(false)
  })

  test("a condition that can't be told fails the step with the reason", async () => {
    const { outcome } = await node.run(taskOf([sh("touch never", { when: "node.tags.rack == 'a'" })], { facts }))
    expect(outcome).toMatchObject({ state: "failed", class: "command" })
    expect(outcome.message).toContain("rack")
    expect(existsSync(join(node.root, "never"))).toBe(false)
  })

  test("a failure that may be is passed over, and seen by later conditions", async () => {
    const steps = [
      sh("exit 4", { continueOnFailure: true, id: "try" }),
      sh("touch handled", { when: "steps.try.exitCode == 4" }),
    ]
    const { outcome } = await node.run(taskOf(steps, { facts }))
    expect(outcome).toMatchObject({ state: "succeeded" })
    expect(outcome.steps.map(({ state }) => state)).toEqual(["failed", "succeeded"])
    expect(existsSync(join(node.root, "handled"))).toBe(true)
  })
})

describe("retries", () => {
  test("delays grow up to their bound, and chance takes its share off", () => {
    const step = stepOf({
      retryDelayMilliseconds: 100,
      retryBackoff: 2,
      retryDelayMillisecondsMax: 500,
      retryJitter: 0.5,
    })
    expect([1, 2, 3, 4, 5].map((attempts) => retryDelay(step, attempts, 0))).toEqual([100, 200, 400, 500, 500])
    expect(retryDelay(step, 3, 0.999_999)).toBe(200)
    expect(retryDelay(stepOf({ retryDelayMilliseconds: 100 }), 9, 0.5)).toBe(100)
  })
})

describe("steps that the server performs", () => {
  test("are asked for with all outputs; the answer's parts become outputs", async () => {
    node.answer = () => ({ reply: { status: 201, body: '{"id":7}', json: { id: 7 } } })
    const { outcome } = await node.run(
      taskOf([
        sh("echo v1", { id: "a", outputs: { version: "result.stdout" } }),
        stepOf({ server: "http", id: "call", outputs: { id: "result.json.id", status: "result.status" } }),
      ]),
    )
    expect(outcome.steps[1]).toMatchObject({ state: "succeeded", outputs: { id: "7", status: "201" } })
    expect(node.frames.find((frame) => frame.type === "step-request")).toMatchObject({
      ...{ phase: "task", step: 1, try: 1 },
      values: { a: { version: "v1" } },
    })
  })

  test("are asked again as often as they may fail, and given up at their time", async () => {
    let asked = 0
    node.answer = () => ({ state: ++asked < 3 ? "failed" : "succeeded" })
    const { outcome } = await node.run(taskOf([stepOf({ server: "operation", attemptsMax: 3 })]))
    expect(outcome.steps[0]).toMatchObject({ state: "succeeded", attempts: 3 })
    node.answer = () => undefined
    const late = await node.run(taskOf([stepOf({ server: "http", timeoutMilliseconds: 50 })]))
    expect(late.outcome).toMatchObject({ state: "failed", class: "timeout" })
    const killed = await node.run(taskOf([stepOf({ server: "http" })]), {
      onStop: (stop) => setTimeout(() => stop({ kind: "killed", message: "enough" }), 50),
    })
    expect(killed.outcome).toMatchObject({ state: "aborted" })
  })
})
