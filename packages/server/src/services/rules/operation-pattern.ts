/** Which operations a trigger is about, as this program declares them. Pure. */
import type { AnyOperation } from "@signalbox/contracts/operation"

export type Operations = ReadonlyMap<string, AnyOperation>

/** Operations of external services have no declaration here. */
export function isExternal(pattern: string): boolean {
  return pattern.startsWith("ext.")
}

/** `undefined` stands for operations that the pattern may mean and that no declaration describes. */
export function operationsOf(operations: Operations, pattern: string): Array<AnyOperation | undefined> {
  if (pattern === "*") return [...operations.values(), undefined]
  if (isExternal(pattern)) return [undefined]
  if (!pattern.endsWith(".*")) return [operations.get(pattern)].filter((found) => found !== undefined)
  const start = pattern.slice(0, -1)
  return [...operations.values()].filter(({ name }) => name.startsWith(start))
}

/** Whether a rule may hold a call of it for later. */
export function canBeHeld(operation: AnyOperation | undefined): boolean {
  return operation === undefined || (operation.effect === "change" && operation.gateable !== false)
}
