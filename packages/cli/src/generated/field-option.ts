import { AppError } from "@signalbox/kernel/app-error"
import { Option } from "commander"
import type { Field } from "./field.ts"

/** @example flagName(["targets", "nodes"], true) // "targets-node" */
export function flagName(path: readonly string[], repeated: boolean): string {
  const name = path.map((part) => part.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)).join("-")
  return repeated && name.endsWith("s") ? name.slice(0, -1) : name
}

/** An option and how its value gets into the input. */
export interface FieldOption {
  readonly option: Option
  readonly path: readonly string[]
  /** @throws cli.usage where the text is no value of the field */
  readonly read: (given: unknown) => unknown
}

/** The options of a field: one, or two where members of a record can be removed. */
export function fieldOptions(field: Field, short?: string): FieldOption[] {
  const repeated = field.kind === "list" || field.kind === "record"
  const name = flagName(field.path, repeated && field.plural !== true)
  const flags = field.kind === "flag" ? `--${name}` : `--${name} <${field.placeholder}>`
  const option = new Option(short === undefined ? flags : `-${short}, ${flags}`, descriptionOf(field, repeated))
  if (repeated) option.argParser(collect)
  if (field.choices && !repeated) option.choices(field.choices)
  const set: FieldOption = { option, path: field.path, read: (given) => readValue(field, given, `--${name}`) }
  return field.removable ? [set, removal(field, name)] : [set]
}

function removal(field: Field, name: string): FieldOption {
  const option = new Option(`--remove-${name} <key>`, `a ${name} to remove (repeatable)`).argParser(collect)
  const read = (given: unknown) => Object.fromEntries((given as string[]).map((key) => [key, null]))
  return { option, path: field.path, read }
}

function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value]
}

function descriptionOf(field: Field, repeated: boolean): string {
  const text = field.description.charAt(0).toLowerCase() + field.description.slice(1)
  const notes = [
    ...(repeated ? ["repeatable"] : []),
    ...(repeated && field.choices ? [`choices: ${field.choices.join(", ")}`] : []),
    ...(field.required && field.kind !== "flag" ? ["required"] : []),
    ...(field.defaultText === undefined ? [] : [`default: ${field.defaultText}`]),
  ]
  return [text, ...(notes.length > 0 ? [`(${notes.join("; ")})`] : [])].filter((part) => part !== "").join(" ")
}

/** The value of a field out of the texts of its option or positional. */
export function readValue(field: Field, given: unknown, name: string): unknown {
  switch (field.kind) {
    case "flag":
      return field.flagValue
    case "number":
      return readNumber(given as string, name)
    case "scalar":
      return readScalar(given as string)
    case "text":
      return given
    case "json":
      return readJson(given as string, name)
    case "list":
      return given
    case "record":
      return readRecord(given as string[], name)
  }
}

function readJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (cause) {
    throw new AppError("cli.usage", `${name} takes JSON, such as '{"size": 3}'`, { cause })
  }
}

function readNumber(text: string, name: string): number {
  const value = Number(text)
  if (text.trim() === "" || !Number.isFinite(value))
    throw new AppError("cli.usage", `${name} takes a number, not "${text}"`)
  return value
}

/** Pairs of `key=value` as a record; `key` alone has an empty value. @throws cli.usage */
export function readRecord(pairs: readonly string[], name: string): Record<string, string> {
  const record: Record<string, string> = {}
  for (const pair of pairs) {
    const equals = pair.indexOf("=")
    const key = equals === -1 ? pair : pair.slice(0, equals)
    const value = equals === -1 ? "" : pair.slice(equals + 1)
    if (key === "") throw new AppError("cli.usage", `${name} takes key=value, not "${pair}"`)
    if (Object.hasOwn(record, key)) throw new AppError("cli.usage", `${name} gives "${key}" twice`)
    // Not an assignment, which would set the prototype where the key is __proto__.
    Object.defineProperty(record, key, { value, enumerable: true, configurable: true, writable: true })
  }
  return record
}

/** A whole number as such; anything else (a percentage) is text. */
export function readScalar(text: string): string | number {
  return /^\d{1,15}$/.test(text) ? Number(text) : text
}
