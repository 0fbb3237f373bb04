import { EvaluationFault } from "./expression-fault.ts"
import { expressionLimits } from "./expression-limits.ts"
import type { FunctionEntry } from "./function-entry.ts"
import { libraryFunctions } from "./library-functions.ts"
import { bounded, whole } from "./operators.ts"
import { Duration, durationText, isMap, kindOfValue, quote, readDuration, readTimestamp } from "./values.ts"
import { libraryText, Timestamp, timestampText } from "./values.ts"
import type { Kind, VariableType } from "./variable-type.ts"

const text: readonly Kind[] = ["string"]

type OnTexts = (a: string, b: string) => unknown

/** The kinds of the arguments are checked before `run`, so it may rely on them. */
function onTexts(makes: VariableType, count: 1 | 2, run: OnTexts): FunctionEntry {
  return {
    called: "method",
    takes: count === 1 ? [text] : [text, text],
    makes,
    run: (a, b) => run(a as string, b as string),
  }
}

function conversion(makes: VariableType, takes: readonly Kind[], run: (value: unknown) => unknown): FunctionEntry {
  return { called: "function", takes: [takes], makes, run }
}

/** A part of a timestamp, in UTC, or all of a duration in that unit. */
function timePart(ofTimestamp: (date: Date) => number, unitMilliseconds?: number): FunctionEntry {
  return {
    called: "method",
    takes: [unitMilliseconds === undefined ? ["timestamp"] : ["timestamp", "duration"]],
    makes: "int",
    run: (value) =>
      value instanceof Timestamp
        ? ofTimestamp(new Date(value.milliseconds))
        : Math.trunc((value as Duration).milliseconds / (unitMilliseconds ?? 1)),
  }
}

const entries: Readonly<Record<string, FunctionEntry>> = {
  size: { called: "both", takes: [["string", "list", "map"]], makes: "int", run: sizeOf },
  contains: onTexts("bool", 2, (a, b) => a.includes(b)),
  startsWith: onTexts("bool", 2, (a, b) => a.startsWith(b)),
  endsWith: onTexts("bool", 2, (a, b) => a.endsWith(b)),
  lowerAscii: onTexts("string", 1, (a) => a.replace(/[A-Z]+/g, (upper) => upper.toLowerCase())),
  upperAscii: onTexts("string", 1, (a) => a.replace(/[a-z]+/g, (lower) => lower.toUpperCase())),
  trim: onTexts("string", 1, (a) => a.trim()),
  split: onTexts({ list: "string" }, 2, (a, b) => bounded(b === "" ? Array.from(a) : a.split(b))),
  join: { called: "method", takes: [["list"], text], makes: "string", run: joinTexts },
  int: conversion("int", ["int", "double", "string", "timestamp"], toInt),
  double: conversion("double", ["int", "double", "string"], toDouble),
  string: conversion(
    "string",
    ["string", "int", "double", "bool", "timestamp", "duration", "ip", "cidr", "semver"],
    toText,
  ),
  bool: conversion("bool", ["bool", "string"], toBool),
  timestamp: conversion("timestamp", ["timestamp", "string"], (value) =>
    typeof value === "string" ? readTimestamp(value) : value,
  ),
  duration: conversion("duration", ["duration", "string"], (value) =>
    typeof value === "string" ? readDuration(value) : value,
  ),
  dyn: conversion(
    "dyn",
    ["bool", "int", "double", "string", "timestamp", "duration", "null", "list", "map", "ip", "cidr", "semver"],
    (x) => x,
  ),
  getFullYear: timePart((date) => date.getUTCFullYear()),
  getMonth: timePart((date) => date.getUTCMonth()),
  getDate: timePart((date) => date.getUTCDate()),
  getDayOfWeek: timePart((date) => date.getUTCDay()),
  getHours: timePart((date) => date.getUTCHours(), 3_600_000),
  getMinutes: timePart((date) => date.getUTCMinutes(), 60_000),
  getSeconds: timePart((date) => date.getUTCSeconds(), 1000),
  getMilliseconds: timePart((date) => date.getUTCMilliseconds(), 1),
  ...libraryFunctions,
}

export function findFunction(name: string): FunctionEntry | undefined {
  return Object.hasOwn(entries, name) ? entries[name] : undefined
}

/** Those that the compiler knows by itself included. */
export const functionNames: readonly string[] = [
  ...Object.keys(entries),
  ...["has", "matches", "all", "exists", "exists_one", "filter", "map"],
]

function sizeOf(value: unknown): number {
  if (typeof value === "string") return countCodePoints(value)
  return Array.isArray(value) ? value.length : Object.keys(value as object).length
}

function countCodePoints(value: string): number {
  let pairs = 0
  for (let index = 0; index < value.length - 1; index++) {
    const isHigh = (value.charCodeAt(index) & 0xfc00) === 0xd800
    if (isHigh && (value.charCodeAt(index + 1) & 0xfc00) === 0xdc00) {
      pairs++
      index++
    }
  }
  return value.length - pairs
}

function joinTexts(list: unknown, separator: unknown): string {
  const between = separator as string
  const { madeSizeMax } = expressionLimits
  // Refused before it is made: a few shared texts, named often, are together more than memory holds.
  let made = ""
  for (const [index, each] of (list as readonly unknown[]).entries()) {
    if (typeof each !== "string") throw new EvaluationFault(`join() needs texts; the list holds ${kindOfValue(each)}`)
    made += index === 0 ? each : between + each
    if (made.length > madeSizeMax) return bounded(made)
  }
  return made
}

function toInt(value: unknown): number {
  if (typeof value === "number") return whole(Math.trunc(value))
  if (value instanceof Timestamp) return Math.floor(value.milliseconds / 1000)
  if (!/^[+-]?\d{1,16}$/.test(value as string))
    throw new EvaluationFault(`${quote(value as string)} is no whole number`)
  return whole(Number(value))
}

function toDouble(value: unknown): number {
  if (typeof value === "number") return value
  const number = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(value as string) ? Number(value) : Number.NaN
  if (Number.isNaN(number)) throw new EvaluationFault(`${quote(value as string)} is no number`)
  return number
}

export function toText(value: unknown): string {
  if (value instanceof Timestamp) return timestampText(value)
  if (value instanceof Duration) return durationText(value)
  const library = libraryText(value)
  if (library !== undefined) return library
  if (isMap(value) || Array.isArray(value)) throw new EvaluationFault(`${kindOfValue(value)} is no text`)
  return String(value)
}

function toBool(value: unknown): boolean {
  if (typeof value === "boolean") return value
  if (value === "true" || value === "false") return value === "true"
  throw new EvaluationFault(`${quote(value as string)} is neither "true" nor "false"`)
}
