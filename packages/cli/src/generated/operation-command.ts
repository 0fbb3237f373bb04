import { type AnyOperation, pathFields } from "@signalbox/contracts/operation"
import { assert } from "@signalbox/kernel/assert"
import type { Command } from "commander"
import { addCommand, type CommandContext, type CommandFrame, onRun } from "../command.ts"
import { readInputFile, readJsonObject } from "../input-file.ts"
import { type Field, fieldsOf } from "./field.ts"
import { type FieldOption, fieldOptions, readValue } from "./field-option.ts"
import { checkInput, putValue } from "./operation-input.ts"
import type { OperationOverride } from "./operation-override.ts"
import { isPaged, runOperation } from "./run-operation.ts"

/** Makes the command of an operation from its declaration. */
export function addOperationCommand(
  parent: Command,
  frame: CommandFrame,
  options: { readonly operation: AnyOperation; readonly verb: string; readonly override: OperationOverride },
): Command {
  const { operation, override } = options
  const shape = shapeOf(operation, override)
  const words = shape.positionals.map((field) => `<${field.path[0]}>`)
  const command = addCommand(parent, [options.verb, ...words].join(" "), operation.summary)
  if (operation.description) command.description(`${operation.summary}.\n\n${operation.description}`)
  for (const [index, field] of shape.positionals.entries()) {
    const argument = command.registeredArguments[index]
    if (argument) argument.description = field.description
  }
  for (const alias of override.aliases ?? []) command.alias(alias)
  for (const { option } of shape.options) command.addOption(option)
  if (shape.file)
    command.option("-f, --file <file>", `file with the ${shape.file.path.join(".")}; - for standard input`)
  command.option("--input <file>", "file with the whole input as JSON; - for standard input; options add to it")
  if (isPaged(operation)) command.option("--all-pages", "every page, not only the first")
  override.extend?.(command)
  onRun(command, frame, {
    run: async (context) => {
      const input = await readInput(context, shape)
      checkInput(operation, input, { fields: shape.fields, positionals: shape.positionals.map(nameOf) })
      if (override.run) return await override.run(context, input as never)
      return await runOperation(context, operation, { input, override })
    },
  })
  return command
}

interface CommandShape {
  readonly fields: readonly Field[]
  readonly positionals: readonly Field[]
  readonly options: readonly FieldOption[]
  readonly file?: Field
}

function shapeOf(operation: AnyOperation, override: OperationOverride): CommandShape {
  const fields = fieldsOf(operation.input)
  const names = [...pathFields(operation.path), ...(override.positionals ?? [])]
  const positionals = names.map((name) => {
    const field = fields.find((candidate) => candidate.path.length === 1 && candidate.path[0] === name)
    assert(field, `${operation.name} has no scalar field ${name}`)
    return field
  })
  const file = fields.find((field) => nameOf(field) === override.file)
  const options = fields
    .filter((field) => field !== file && !positionals.includes(field))
    .flatMap((field) => fieldOptions(field, override.shorts?.[nameOf(field)]))
  return { fields, positionals, options, ...(file ? { file } : {}) }
}

function nameOf(field: Field): string {
  return field.path.join(".")
}

async function readInput(context: CommandContext, shape: CommandShape): Promise<Record<string, unknown>> {
  const { options: given, io } = context
  const input = typeof given["input"] === "string" ? await readJsonObject(given["input"], io) : {}
  for (const [index, field] of shape.positionals.entries()) {
    putValue(input, field.path, readValue(field, context.words[index], `<${nameOf(field)}>`))
  }
  for (const { option, path, read } of shape.options) {
    const value = given[option.attributeName()]
    if (value !== undefined) putValue(input, path, read(value))
  }
  if (shape.file && typeof given["file"] === "string") {
    putValue(input, shape.file.path, await readInputFile(given["file"], io))
  }
  return input
}
