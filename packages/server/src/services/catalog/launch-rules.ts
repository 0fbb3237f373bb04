/** Who may launch, with which values, and what counts towards which quota. Pure. */
import type { ParameterValue } from "@signalbox/contracts/workflows/document"
import type { Issue } from "@signalbox/kernel/app-error"
import { formatDuration } from "@signalbox/kernel/duration"
import { readParameters, type ParameterValues } from "../../parameters/parameter-values.ts"
import { findConstraintFault, type EffectiveProduct } from "./constraints.ts"
import type { PortfolioDefinition, ProductDefinition } from "./definitions.ts"

export interface Launcher {
  readonly account: string
  /** Who answers for the launch: of a schedule's call, its author. */
  readonly principal: string
  readonly teams: readonly string[]
  readonly roles: readonly string[]
}

/** A portfolio as a link of a chain. */
export interface Link {
  readonly account: string
  readonly id: string
  readonly name: string
  readonly definition: PortfolioDefinition
}

/** Whose list says no; undefined where all say yes. What a list names are people of its own account. */
export function findRefusal(links: readonly Link[], launcher: Launcher): Link | undefined {
  return links.find(({ account, definition: { access, principalIds } }) => {
    if (access === undefined || account !== launcher.account) return false
    return !(
      principalIds.includes(launcher.principal) ||
      access.teams.some((team) => launcher.teams.includes(team)) ||
      access.roles.some((role) => launcher.roles.includes(role))
    )
  })
}

export interface Wanted {
  readonly parameters: ParameterValues
  readonly region?: string | undefined
  readonly lifetimeMilliseconds?: number | undefined
}

export interface Settled {
  readonly parameters: Readonly<Record<string, ParameterValue>>
  readonly region?: string | undefined
  readonly lifetimeMilliseconds?: number | undefined
}

/** What is launched: values with their defaults, the only region, the longest lifetime; or what is wrong. */
export function settleLaunch(
  { parameters: declarations }: ProductDefinition,
  effective: EffectiveProduct,
  wanted: Wanted,
): { readonly settled: Settled; readonly issues: readonly Issue[] } {
  const read = readParameters(declarations, withOnlyValues(effective, wanted.parameters))
  const issues: Issue[] = [...read.issues]
  for (const [name, value] of Object.entries(read.values)) {
    const parameter = effective.parameters[name]
    const isLeftOut = value === "" && parameter?.declaration.required === false
    const fault = parameter && !isLeftOut ? findConstraintFault(parameter, value) : undefined
    if (fault !== undefined) issues.push({ path: `parameters.${name}`, message: fault })
  }
  const { lifetimeMaxMilliseconds } = effective
  const lifetimeMilliseconds = wanted.lifetimeMilliseconds ?? lifetimeMaxMilliseconds
  if (lifetimeMaxMilliseconds !== undefined && (lifetimeMilliseconds ?? 0) > lifetimeMaxMilliseconds)
    issues.push({ path: "lifetime", message: `may be ${formatDuration(lifetimeMaxMilliseconds)} at most` })
  const { region, fault } = settleRegion(effective, wanted.region)
  if (fault !== undefined) issues.push({ path: "region", message: fault })
  return { settled: { parameters: read.values, region, lifetimeMilliseconds }, issues }
}

/** A default that is not allowed here gives way to the one value that is. */
function withOnlyValues(effective: EffectiveProduct, wanted: ParameterValues): ParameterValues {
  const only = Object.entries(effective.parameters).flatMap(([name, { enum: values }]) => {
    const [first, ...more] = values ?? []
    return first !== undefined && more.length === 0 ? [[name, first] as const] : []
  })
  return { ...Object.fromEntries(only), ...wanted }
}

function settleRegion(
  { regions }: EffectiveProduct,
  wanted: string | undefined,
): { readonly region?: string; readonly fault?: string } {
  if (regions === undefined) return wanted === undefined ? {} : { fault: "the product has no regions" }
  if (wanted !== undefined)
    return regions.includes(wanted) ? { region: wanted } : { fault: `may only be ${regions.join(", ") || "nothing"}` }
  const [only, ...more] = regions
  return only !== undefined && more.length === 0 ? { region: only } : { fault: `is one of ${regions.join(", ")}` }
}

/** At most `max` live instances that were launched through this portfolio, of this product and by this owner if named. */
export interface Quota {
  readonly portfolioId: string
  readonly portfolio: string
  readonly product?: string
  readonly owner?: string
  readonly max: number
}

/** All limits that one more instance has to keep, those of every link. */
export function quotasOf(links: readonly Link[], product: string, owner: string): Quota[] {
  return links.flatMap(({ id, name, definition }) => {
    const own = definition.products?.[product]
    const of = { portfolioId: id, portfolio: name }
    return [
      ...limit(definition.liveMax, of),
      ...limit(definition.liveMaxPerPrincipal, { ...of, owner }),
      ...limit(own?.liveMax, { ...of, product }),
      ...limit(own?.liveMaxPerPrincipal, { ...of, product, owner }),
    ]
  })
}

function limit(max: number | undefined, of: Omit<Quota, "max">): Quota[] {
  return max === undefined ? [] : [{ ...of, max }]
}

export function quotaText({ portfolio, product, owner, max }: Quota): string {
  const what = product === undefined ? "instances" : `instances of "${product}"`
  const whose = owner === undefined ? "" : " for each principal"
  return `the portfolio "${portfolio}" allows ${max} live ${what}${whose}`
}
