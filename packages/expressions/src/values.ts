import { findDuration } from "@signalbox/kernel/duration"
import { spend, workOf, type Budget } from "./budget.ts"
import { EvaluationFault } from "./expression-fault.ts"
import { CidrBlock, IpAddress, isSameIp } from "./network-values.ts"
import { compareSemver, SemanticVersion } from "./semver-value.ts"
import type { Kind } from "./variable-type.ts"

/** A moment, while an expression runs; JSON has none, so it comes in and goes out as RFC 3339 text. */
export class Timestamp {
  readonly milliseconds: number
  constructor(milliseconds: number) {
    this.milliseconds = milliseconds
  }
}

/** A length of time, while an expression runs; it goes out as text such as `90s`. */
export class Duration {
  readonly milliseconds: number
  constructor(milliseconds: number) {
    this.milliseconds = milliseconds
  }
}

const rfc3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)$/

export function readTimestamp(text: string): Timestamp {
  const milliseconds = rfc3339.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(milliseconds)) throw new EvaluationFault(`${quote(text)} is no RFC 3339 timestamp`)
  return new Timestamp(milliseconds)
}

export function readDuration(text: string): Duration {
  const isNegative = text.startsWith("-")
  const milliseconds = findDuration(isNegative ? text.slice(1) : text)
  if (milliseconds === undefined) throw new EvaluationFault(`${quote(text)} is no duration; write 90s, 5m or 1h30m`)
  return new Duration(isNegative ? -milliseconds : milliseconds)
}

/** The kind of a value at run time. A whole number is `int` here; where it matters the static type decides. */
export function kindOfValue(value: unknown): Kind {
  switch (typeof value) {
    case "string":
      return "string"
    case "boolean":
      return "bool"
    case "number":
      return Number.isInteger(value) ? "int" : "double"
    case "object":
      if (value === null) return "null"
      if (Array.isArray(value)) return "list"
      if (Object.getPrototypeOf(value) === Object.prototype) return "map"
      return kindOfInstance(value)
    default:
      throw new EvaluationFault(`a value of type ${typeof value} can't be used in an expression`)
  }
}

function kindOfInstance(value: object): Kind {
  if (value instanceof Timestamp) return "timestamp"
  if (value instanceof Duration) return "duration"
  if (value instanceof IpAddress) return "ip"
  if (value instanceof CidrBlock) return "cidr"
  return value instanceof SemanticVersion ? "semver" : "map"
}

/** An address, a block of them or a version as text; undefined for anything else. */
export function libraryText(value: unknown): string | undefined {
  if (value instanceof IpAddress || value instanceof SemanticVersion) return value.text
  return value instanceof CidrBlock ? `${value.address.text}/${value.prefixLength}` : undefined
}

function isEqualInstance(a: object, b: object): boolean {
  if (a instanceof Timestamp) return b instanceof Timestamp && a.milliseconds === b.milliseconds
  if (a instanceof Duration) return b instanceof Duration && a.milliseconds === b.milliseconds
  if (a instanceof IpAddress) return b instanceof IpAddress && isSameIp(a, b)
  if (a instanceof SemanticVersion) return b instanceof SemanticVersion && compareSemver(a, b) === 0
  const areBlocks = a instanceof CidrBlock && b instanceof CidrBlock
  return areBlocks && a.prefixLength === b.prefixLength && isSameIp(a.address, b.address)
}

export function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && kindOfValue(value) === "map"
}

/** Equality by content. Numbers compare by value, whatever their type; values of different kinds are not equal. */
export function isEqual(a: unknown, b: unknown, budget: Budget): boolean {
  if (typeof a === "string" && typeof b === "string" && a.length === b.length) spend(budget, a.length)
  if (a === b) return true
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false
    spend(budget, a.length)
    return a.every((item, index) => isEqual(item, b[index], budget))
  }
  if (!isMap(a) || !isMap(b)) return isEqualInstance(a, b)
  const keys = Object.keys(a)
  spend(budget, keys.length)
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && isEqual(a[key], b[key], budget))
  )
}

/** A result as JSON. */
export function toJsonValue(value: unknown, budget: Budget): unknown {
  spend(budget, workOf(value))
  if (value instanceof Timestamp) return timestampText(value)
  if (value instanceof Duration) return durationText(value)
  const library = libraryText(value)
  if (library !== undefined) return library
  if (Array.isArray(value)) return value.map((each) => toJsonValue(each, budget))
  if (isMap(value))
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, toJsonValue(each, budget)]))
  return value
}

export function timestampText(value: Timestamp): string {
  const date = new Date(value.milliseconds)
  if (Number.isNaN(date.getTime())) throw new EvaluationFault("a timestamp is out of range")
  return date.toISOString()
}

export function durationText(value: Duration): string {
  return `${value.milliseconds / 1000}s`
}

/** Text for a message: short, and on one line. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)
}
