import { join } from "node:path"
import { stripVTControlCharacters } from "node:util"
import type { Repository } from "../repository.ts"
import { runCommand, type CommandResult } from "../run-command.ts"
import type { Gate, GateResult } from "./gate.ts"

/** The gates that are a program of somebody else's, run over the repository, and how its answer is read. */

/** Without colours: some tools paint in CI whatever NO_COLOR says. */
async function runTool(root: string, command: readonly string[]): Promise<CommandResult> {
  const [name = "", ...words] = command
  const bin = join(root, "node_modules/.bin")
  const { status, stdout, stderr } = await runCommand([join(bin, name), ...words], {
    directory: root,
    environment: { ...process.env, NO_COLOR: "1", PATH: `${bin}:${process.env["PATH"] ?? ""}` },
  })
  return { status, stdout: stripVTControlCharacters(stdout), stderr: stripVTControlCharacters(stderr) }
}

function nonEmptyLines(text: string): string[] {
  return text.split("\n").filter((line) => line.trim() !== "")
}

export async function checkFormat(root: string): Promise<GateResult> {
  const { status, stdout, stderr } = await runTool(root, ["oxfmt", "--check"])
  const unformatted = [...stdout.matchAll(/^(.+) \(\d+ms\)$/gm)].map(([, path]) => `${path}: run \`npm run format\``)
  const count = /on (\d+) files/.exec(stdout)?.[1]
  const problems = status === 0 || unformatted.length > 0 ? unformatted : nonEmptyLines(stdout + stderr)
  return { problems, note: `${count ?? "?"} files` }
}

interface LintReport {
  readonly diagnostics: ReadonlyArray<{
    readonly code?: string
    readonly message: string
    readonly filename: string
    readonly labels?: ReadonlyArray<{ readonly span: { readonly line: number } }>
  }>
  readonly number_of_files: number
  readonly number_of_rules: number
}

export async function checkLint(root: string): Promise<GateResult> {
  const result = await runTool(root, [
    "oxlint",
    "--type-aware",
    "--tsconfig=tsconfig.tests.json",
    "--format=json",
    "--deny-warnings",
  ])
  let report: LintReport
  try {
    report = JSON.parse(result.stdout) as LintReport
  } catch {
    return { problems: [`oxlint gave no report: ${result.stdout}${result.stderr}`], note: "" }
  }
  const problems = report.diagnostics.map(
    ({ filename, labels, code, message }) =>
      `${filename}:${labels?.[0]?.span.line ?? 1}: ${code ?? "error"}: ${message}`,
  )
  if (result.status !== 0 && problems.length === 0) problems.push(`oxlint ended with status ${result.status}`)
  return { problems: problems.toSorted(), note: `${report.number_of_files} files, ${report.number_of_rules} rules` }
}

export async function checkTypes(root: string): Promise<GateResult> {
  const problems: string[] = []
  for (const command of [
    ["tsc", "-b", "--pretty", "false"],
    ["tsc", "-p", "tsconfig.tests.json", "--pretty", "false"],
  ]) {
    const { status, stdout } = await runTool(root, command)
    if (status !== 0) problems.push(...nonEmptyLines(stdout))
  }
  return { problems: [...new Set(problems)], note: "packages, then tests and tools" }
}

interface KnipReport {
  readonly issues: ReadonlyArray<Readonly<Record<string, unknown>> & { readonly file: string }>
}

export async function checkDeadCode(root: string): Promise<GateResult> {
  const { status, stdout, stderr } = await runTool(root, ["knip", "--reporter", "json", "--no-progress"])
  let report: KnipReport
  try {
    report = JSON.parse(stdout) as KnipReport
  } catch {
    return { problems: [`knip gave no report (status ${status}): ${stdout}${stderr}`], note: "" }
  }
  const problems = report.issues.flatMap(({ file, ...kinds }) =>
    Object.entries(kinds).flatMap(([kind, found]) =>
      Array.isArray(found) ? found.flat().map((item) => `${file}: ${kind}: ${nameOf(item)}`) : [],
    ),
  )
  return { problems: problems.toSorted(), note: "files, exports, dependencies" }
}

function nameOf(item: unknown): string {
  return String(typeof item === "object" && item !== null && "name" in item ? item.name : JSON.stringify(item))
}

function commandGate(name: string, check: (root: string) => Promise<GateResult>): Gate {
  return { name, run: (repository: Repository) => check(repository.root) }
}

export const formatGate = commandGate("format", checkFormat)
export const lintGate = commandGate("lint", checkLint)
export const typesGate = commandGate("types", checkTypes)
export const deadCodeGate = commandGate("dead code", checkDeadCode)
