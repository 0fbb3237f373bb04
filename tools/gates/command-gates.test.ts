import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { plantFolder } from "../planted-repository.fixture.ts"
import { repositoryRoot } from "../repository.ts"
import { checkDeadCode, checkFormat, checkLint, checkTypes } from "./command-gates.ts"

const ours = (path: string) => readFile(join(repositoryRoot, path), "utf8")
const compilerOptions = {
  strict: true,
  target: "es2024",
  module: "nodenext",
  noEmit: true,
  skipLibCheck: true,
  types: [],
}
const tsconfig = JSON.stringify({ compilerOptions, include: ["src"] })
const lines = (count: number) => "void 0\n".repeat(count)

/** For each rule that our configuration names, a file that breaks it. */
const brokenRules: Readonly<Record<string, readonly [path: string, text: string]>> = {
  "typescript/no-floating-promises": ["floating.ts", "export const later = async () => {}\nlater()\n"],
  "typescript/no-misused-promises": [
    "misused.ts",
    "export const all = (list: number[]) => list.forEach(async (each) => { await Promise.resolve(each) })\n",
  ],
  "typescript/switch-exhaustiveness-check": [
    "switch.ts",
    'export const f = (x: "a" | "b") => {\n  switch (x) {\n    case "a":\n      return 1\n  }\n  return 2\n}\n',
  ],
  "typescript/consistent-type-imports": [
    "type-import.ts",
    'import { Shape } from "./shape.js"\nexport const shape: Shape = {}\n',
  ],
  "typescript/no-explicit-any": ["anything.ts", "export const x: any = 1\n"],
  "typescript/no-non-null-assertion": ["non-null.ts", "export const f = (x: string | undefined) => x!.length\n"],
  "import/no-default-export": ["default.ts", "export default 1\n"],
  "unicorn/filename-case": ["notKebab.ts", "export const x = 1\n"],
  "eslint/max-params": ["params.ts", "export const f = (a: 1, b: 1, c: 1, d: 1) => [a, b, c, d]\n"],
  "eslint/max-lines": ["lines.ts", `export const x = 1\n${lines(400)}`],
  "eslint/max-lines-per-function": ["function.ts", `export function f() {\n${lines(70)}}\n`],
  "eslint/no-console": ["console.ts", 'console.log("x")\nexport {}\n'],
  "vitest/no-focused-tests": ["focused.test.ts", 'import { test } from "vitest"\ntest["only"]("x", () => {})\n'],
  "vitest/no-disabled-tests": ["disabled.test.ts", 'import { test } from "vitest"\ntest["skip"]("x", () => {})\n'],
  "vitest/valid-expect": ["expect.test.ts", 'import { expect, test } from "vitest"\ntest("x", () => { expect(1) })\n'],
}

describe("lint", () => {
  test("every rule that the configuration names finds its planted violation", async () => {
    const configuration = await ours(".oxlintrc.json")
    const named = [...configuration.matchAll(/"([a-z]+\/[a-z-]+)": (?:"error"|\["error")/g)].map(
      ([, rule = ""]) => rule,
    )
    expect(Object.keys(brokenRules).toSorted()).toEqual(named.toSorted())
    const files = Object.entries(brokenRules).map(([, [path, text]]) => [`src/${path}`, text])
    const root = await plantFolder({
      ".oxlintrc.json": configuration,
      "tsconfig.tests.json": tsconfig,
      "src/shape.ts": "export interface Shape {}\n",
      ...Object.fromEntries(files),
    })
    const { problems } = await checkLint(root)
    for (const [rule, [path]] of Object.entries(brokenRules)) {
      const [plugin, name] = rule.split("/")
      expect(problems.filter((each) => each.startsWith(`src/${path}:`)).join("\n")).toContain(`${plugin}(${name})`)
    }
  })
})

describe("format", () => {
  test("finds a file that isn't formatted, and passes one that is", async () => {
    const configuration = { ".oxfmtrc.json": await ours(".oxfmtrc.json") }
    const root = await plantFolder({
      ...configuration,
      "bad.ts": "export const  x = 1;\n",
      "good.ts": "export const x = 1\n",
    })
    expect((await checkFormat(root)).problems).toEqual(["bad.ts: run `npm run format`"])
  })
})

describe("types", () => {
  test("finds a wrong type, in the build and in the tests", async () => {
    const root = await plantFolder({
      "tsconfig.json": tsconfig,
      "tsconfig.tests.json": JSON.stringify({ compilerOptions, include: ["tests"] }),
      "src/bad.ts": 'export const x: number = "one"\n',
      "tests/bad.test.ts": 'export const y: number = "two"\n',
    })
    const { problems } = await checkTypes(root)
    expect(problems.map((each) => each.slice(0, each.indexOf("(")))).toEqual(["src/bad.ts", "tests/bad.test.ts"])
  })
})

describe("dead code", () => {
  test("finds an unused file, an unused export, an undeclared and an unused dependency", async () => {
    const root = await plantFolder({
      "package.json": JSON.stringify({ name: "planted", type: "module", dependencies: { "left-unused": "1.0.0" } }),
      "knip.json": JSON.stringify({ entry: ["main.ts"], project: ["*.ts"] }),
      "main.ts": 'import "never-declared"\nimport { used } from "./part.ts"\nvoid used\n',
      "part.ts": "export const used = 1\nexport const unused = 2\n",
      "orphan.ts": "export const x = 1\n",
    })
    expect((await checkDeadCode(root)).problems).toEqual([
      "main.ts: unlisted: never-declared",
      "orphan.ts: files: orphan.ts",
      "package.json: dependencies: left-unused",
      "part.ts: exports: unused",
    ])
  })
})
