import { EvaluationFault } from "./expression-fault.ts"
import type { FunctionEntry } from "./function-entry.ts"
import { CidrBlock, containsCidr, containsIp, findCidr, findIp, IpAddress } from "./network-values.ts"
import { compareSemver, findSemver, type SemanticVersion } from "./semver-value.ts"
import { quote } from "./values.ts"

/** Addresses and versions, by the names of Kubernetes' CEL libraries. */
export const libraryFunctions: Readonly<Record<string, FunctionEntry>> = {
  ip: { called: "function", takes: [["string", "ip"]], makes: "ip", run: toIp },
  isIP: { called: "function", takes: [["string"]], makes: "bool", run: (a) => findIp(a as string) !== undefined },
  family: { called: "method", takes: [["ip"]], makes: "int", run: (a) => (a as IpAddress).family },
  cidr: { called: "function", takes: [["string", "cidr"]], makes: "cidr", run: toCidr },
  isCIDR: { called: "function", takes: [["string"]], makes: "bool", run: (a) => findCidr(a as string) !== undefined },
  containsIP: onBlock(["ip", "string"], (block, other) => containsIp(block, toIp(other))),
  containsCIDR: onBlock(["cidr", "string"], (block, other) => containsCidr(block, toCidr(other))),
  prefixLength: { called: "method", takes: [["cidr"]], makes: "int", run: (a) => (a as CidrBlock).prefixLength },
  semver: { called: "function", takes: [["string", "semver"]], makes: "semver", run: toSemver },
  isSemver: {
    called: "function",
    takes: [["string"]],
    makes: "bool",
    run: (a) => findSemver(a as string) !== undefined,
  },
  isLessThan: onVersions("bool", (order) => order < 0),
  isGreaterThan: onVersions("bool", (order) => order > 0),
  compareTo: onVersions("int", (order) => order),
  major: partOfVersion((version) => version.major),
  minor: partOfVersion((version) => version.minor),
  patch: partOfVersion((version) => version.patch),
}

function onBlock(
  takes: FunctionEntry["takes"][number],
  run: (block: CidrBlock, other: unknown) => boolean,
): FunctionEntry {
  return { called: "method", takes: [["cidr"], takes], makes: "bool", run: (a, b) => run(a as CidrBlock, b) }
}

function onVersions(makes: "bool" | "int", tell: (order: number) => unknown): FunctionEntry {
  const run = (a: unknown, b: unknown): unknown => tell(compareSemver(a as SemanticVersion, b as SemanticVersion))
  return { called: "method", takes: [["semver"], ["semver"]], makes, run }
}

function partOfVersion(part: (version: SemanticVersion) => number): FunctionEntry {
  return { called: "method", takes: [["semver"]], makes: "int", run: (a) => part(a as SemanticVersion) }
}

function toIp(value: unknown): IpAddress {
  if (value instanceof IpAddress) return value
  const found = findIp(value as string)
  if (found === undefined) throw new EvaluationFault(`${quote(value as string)} is no IP address`)
  return found
}

function toCidr(value: unknown): CidrBlock {
  if (value instanceof CidrBlock) return value
  const found = findCidr(value as string)
  if (found === undefined)
    throw new EvaluationFault(`${quote(value as string)} is no block of addresses; write 10.0.0.0/8`)
  return found
}

function toSemver(value: unknown): unknown {
  if (typeof value !== "string") return value
  const found = findSemver(value)
  if (found === undefined) throw new EvaluationFault(`${quote(value)} is no semantic version; write 1.2.3`)
  return found
}
