import { operations } from "@signalbox/contracts/operations"
import type { Argument, Command, Option } from "commander"
import { pathOf } from "../command.ts"
import { exitCodeTexts } from "../exit-codes.ts"
import { operationsWithoutCommand } from "../generated/operation-overrides.ts"

const connection = "Connection:"

/** The text of docs/cli.md, made from the program itself; a test holds the two together. */
export function renderCliReference(program: Command): string {
  const leaves = leavesOf(program)
  return [
    "# The command line",
    "",
    "Made from the program by `packages/cli/src/docs/cli-reference.test.ts`; change the program, then run",
    "`npx vitest run packages/cli/src/docs -u`.",
    "",
    "Every command takes `--json` (one JSON document, or JSON lines for streams) and `--help`.",
    "In a pipe nothing is coloured or cut; with `NO_COLOR` nothing is coloured in a terminal either.",
    "A noun alone lists: `signalbox nodes` is `signalbox nodes list`.",
    "",
    "## Exit codes",
    "",
    "| code | meaning |",
    "|---:|---|",
    ...exitCodeTexts.map(([code, text]) => `| ${code} | ${text} |`),
    "",
    "## Which server",
    "",
    "`signalbox login` stores a server and a key in `$XDG_CONFIG_HOME/signalbox/config.json`, readable by you only.",
    "Commands that call a server take these options; a variable stands in brackets.",
    "",
    ...optionTable(connectionOptions(leaves)),
    "",
    "With `SIGNALBOX_DEBUG=1` an error shows where in the program it came from.",
    "",
    "## Commands",
    "",
    ...leaves.map((command) => `- [\`${pathOf(command)}\`](#${anchorOf(command)})${dash(command.summary())}`),
    "",
    ...leaves.flatMap((command) => section(command)),
    "## Operations without a command",
    "",
    ...operations
      .filter(({ name }) => Object.hasOwn(operationsWithoutCommand, name))
      .map(({ name }) => `- \`${name}\`: ${operationsWithoutCommand[name]}`),
    "",
  ].join("\n")
}

/** Commands that do something, in the order in which help lists them. */
export function leavesOf(command: Command): Command[] {
  const below = command.commands.flatMap(leavesOf)
  return command.commands.length === 0 || command.registeredArguments.length > 0 || command.name() === "agent"
    ? [command, ...below]
    : below
}

function section(command: Command): string[] {
  const options = command.options.filter((option) => option.helpGroupHeading !== connection && option.long !== "--json")
  const aliases = command.aliases().map((alias) => `\`${alias}\``)
  return [
    `### ${pathOf(command)}`,
    "",
    `${command.description()}.`.replace(/\.\.$/, "."),
    ...(aliases.length > 0 ? ["", `Also: ${aliases.join(", ")}.`] : []),
    "",
    "```",
    `${pathOf(command)} ${command.usage()}`,
    "```",
    "",
    ...argumentList(command.registeredArguments),
    ...(options.length > 0 ? [...optionTable(options), ""] : []),
  ]
}

function argumentList(all: readonly Argument[]): string[] {
  const described = all.filter((argument) => argument.description !== "")
  if (described.length === 0) return []
  return [...described.map((argument) => `- \`${argument.name()}\`: ${argument.description}`), ""]
}

function optionTable(options: readonly Option[]): string[] {
  const rows = options.map((option) => `| \`${option.flags.replaceAll("|", "\\|")}\` | ${escape(describe(option))} |`)
  return ["| option | meaning |", "|---|---|", ...rows]
}

function describe(option: Option): string {
  const choices = option.argChoices ? ` (choices: ${option.argChoices.join(", ")})` : ""
  return `${option.description}${choices}${option.mandatory ? " (required)" : ""}`
}

function connectionOptions(leaves: readonly Command[]): Option[] {
  const command = leaves.find((leaf) => leaf.options.some((option) => option.helpGroupHeading === connection))
  return command?.options.filter((option) => option.helpGroupHeading === connection) ?? []
}

function anchorOf(command: Command): string {
  return pathOf(command).replaceAll(" ", "-")
}

function escape(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("<", "&lt;").replaceAll("\n", " ")
}

function dash(text: string): string {
  return text === "" ? "" : `: ${text.charAt(0).toLowerCase()}${text.slice(1)}`
}
