import { operations } from "@signalbox/contracts/operations"
import { errorCatalogue } from "@signalbox/kernel/error-catalogue"
import { expect, test } from "vitest"
import { pathOf } from "./command.ts"
import { leavesOf } from "./docs/cli-reference.ts"
import { exitCodeTexts, exitCodes } from "./exit-codes.ts"
import { operationOverrides, operationsWithoutCommand } from "./generated/operation-overrides.ts"
import { createProgram } from "./program.ts"
import { cli, TestIo } from "./test-io.fixture.ts"

const program = createProgram({ io: new TestIo(), outcome: { exitCode: 0, doing: "", json: false } }, "0.0.0")
const leaves = leavesOf(program)
const paths = new Set(leaves.map(pathOf))

test.each(operations.map(({ name }) => name))("the operation %s has a command, or a reason to have none", (name) => {
  const words = operationOverrides[name]?.words ?? name.split(".")
  const hasCommand = paths.has(["signalbox", ...words].join(" "))
  const reason = operationsWithoutCommand[name]
  // Written by hand, under the operation's own name.
  const isByHand = reason?.startsWith(`\`signalbox ${words.join(" ")}\``) ?? false
  if (!isByHand) expect(hasCommand).toBe(reason === undefined)
})

test("overrides and exceptions name operations that exist", () => {
  const names = new Set(operations.map(({ name }) => name))
  for (const name of Object.keys({ ...operationOverrides, ...operationsWithoutCommand })) expect(names).toContain(name)
})

test("every command has help, takes --json, and has no argument, option or short flag twice", () => {
  expect(leaves.length).toBeGreaterThan(50)
  for (const command of leaves) {
    expect(command.summary(), pathOf(command)).not.toBe("")
    expect(command.helpInformation()).toContain(command.summary().slice(0, 20))
    const flags = command.options.flatMap(({ short, long }) => [short, long]).filter((flag) => flag !== undefined)
    expect(new Set(flags).size, pathOf(command)).toBe(flags.length)
    const names = command.registeredArguments.map((argument) => argument.name())
    expect(new Set(names).size, pathOf(command)).toBe(names.length)
    if (command.name() !== "exit-codes") expect(flags, pathOf(command)).toContain("--json")
  }
})

test("a parent's options don't take those of its subcommands", async () => {
  const server = ["--server", "http://127.0.0.1:1"]
  expect(await cli(["workflows", "get", "web", "--version", "3", ...server])).toMatchObject({ code: 7, stdout: "" })
  const agent = await cli(["agent", "run", "--root", "/nonexistent", "--data", "/nonexistent", "--json"])
  expect(JSON.parse(agent.stderr)).toMatchObject({ code: "agent.not-enrolled" })
})

test("every command that an error's help names exists", () => {
  for (const [code, { help }] of Object.entries(errorCatalogue)) {
    for (const [, words = ""] of help.matchAll(/`signalbox ([a-z -]+)/g)) {
      const path = `signalbox ${words.replace(/ --?.*$/, "").trim()}`
      const known = [...paths].some((one) => one === path || one.startsWith(`${path} `)) || path === "signalbox help"
      expect(known, `${code}: ${path}`).toBe(true)
    }
  }
})

test("each exit code is documented once, and `help exit-codes` shows them", async () => {
  expect(exitCodeTexts.map(([code]) => code)).toEqual(Object.values(exitCodes))
  const { code, stdout } = await cli(["help", "exit-codes"])
  expect(code).toBe(0)
  for (const [number, text] of exitCodeTexts) expect(stdout).toContain(`${number}  ${text}`)
})

test("--help and --version go to standard output and exit with 0", async () => {
  expect(await cli(["--version"])).toEqual({ code: 0, stdout: "0.0.0-test\n", stderr: "" })
  const help = await cli(["nodes", "list", "--help"])
  expect(help).toMatchObject({ code: 0, stderr: "" })
  expect(help.stdout).toContain("--all-pages")
})

test("wrong usage exits with 2, names the command and suggests the right one", async () => {
  const wrong = await cli(["nodes", "lst"])
  expect(wrong.code).toBe(2)
  expect(wrong.stderr).toBe(
    "signalbox nodes: unknown command 'lst' (Did you mean list?) [cli.usage]\nhelp: See `signalbox help COMMAND`.\n",
  )
  expect((await cli(["nodes", "list", "--limt", "3"])).stderr).toContain("Did you mean --limit?")
  expect((await cli(["bogus"])).code).toBe(2)
  expect((await cli([])).code).toBe(2)
})

test("without a login a command says how to get one", async () => {
  const result = await cli(["nodes"], { environment: { XDG_CONFIG_HOME: "/nonexistent" } })
  expect(result.code).toBe(4)
  expect(result.stderr).toContain("signalbox login --local")
})

test("an invalid input is refused in the words of the command line, with --json as a problem", async () => {
  const words = ["keys", "create", "ci", "--role", "king", "--expires-at", "tomorrow", "--server", "http://127.0.0.1:1"]
  const text = await cli(words)
  expect(text.code).toBe(2)
  expect(text.stderr).toMatch(/ {2}--role 0: .*\n {2}--expires-at: /)
  const json = await cli([...words, "--json"])
  expect(JSON.parse(json.stderr)).toMatchObject({ code: "request.invalid-input", issues: [{ path: "--role 0" }, {}] })
  const missing = await cli(["keys", "create", "ci", "--server", "http://127.0.0.1:1"])
  expect(missing.stderr).toContain("--role: is missing")
})

test("a server that isn't there exits with 7", async () => {
  const result = await cli(["nodes", "--server", "http://127.0.0.1:1", "--key", "x"])
  expect(result).toMatchObject({ code: 7, stdout: "" })
  expect(result.stderr).toContain("no server answers at http://127.0.0.1:1")
})
