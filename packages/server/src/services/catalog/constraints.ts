/**
 * What may be launched: the constraints of a chain of portfolios, from the one that has the product to the one that is
 * launched from. What holds is the intersection of all of them, so no link can allow what an earlier one does not. Pure.
 */
import type { ParameterDeclaration, ParameterValue } from "@signalbox/contracts/workflows/document"
import type { Issue } from "@signalbox/kernel/app-error"
import { findDuration, formatDuration } from "@signalbox/kernel/duration"
import { compilePattern, findValueFault } from "../../parameters/parameter-values.ts"
import type { PortfolioDefinition, ProductConstraints, ProductDefinition } from "./definitions.ts"

export interface EffectiveParameter {
  readonly declaration: ParameterDeclaration
  readonly enum?: readonly ParameterValue[]
  readonly min?: number
  readonly max?: number
  readonly patterns: readonly string[]
}

export interface EffectiveProduct {
  readonly parameters: Readonly<Record<string, EffectiveParameter>>
  /** Undefined where the product has none. */
  readonly regions?: readonly string[]
  readonly liveMax?: number
  readonly liveMaxPerPrincipal?: number
  readonly lifetimeMaxMilliseconds?: number
}

type ParameterConstraint = ProductConstraints["parameters"][string]
/** Limits where a smaller one is narrower. */
interface Limits {
  readonly liveMax?: number | undefined
  readonly liveMaxPerPrincipal?: number | undefined
  readonly lifetimeMaxMilliseconds?: number | undefined
}

/** What a version of a product allows before any portfolio. */
function unconstrained({ parameters, regions }: ProductDefinition): EffectiveProduct {
  return {
    parameters: Object.fromEntries(
      Object.entries(parameters).map(([name, declaration]) => {
        const { enum: values, min, max } = declaration
        return [name, { declaration, patterns: [], ...given({ enum: values, min, max }) }]
      }),
    ),
    ...(regions.length === 0 ? {} : { regions }),
  }
}

/** What holds of a product after these portfolios, the first of which has it; undefined where one leaves it out. */
export function narrowThrough(
  name: string,
  product: EffectiveProduct,
  links: readonly PortfolioDefinition[],
): EffectiveProduct | undefined {
  let effective = product
  for (const link of links) {
    const own = constraintsIn(link, name)
    if (own === undefined) return undefined
    effective = narrow(effective, own, link)
  }
  return effective
}

/** An import without a list has all that its source has. */
function constraintsIn({ products }: PortfolioDefinition, name: string): ProductConstraints | undefined {
  if (products === undefined) return { parameters: {} }
  return Object.hasOwn(products, name) ? products[name] : undefined
}

function narrow(effective: EffectiveProduct, own: ProductConstraints, link: Limits): EffectiveProduct {
  const regions = effective.regions?.filter((region) => own.regions?.includes(region) ?? true)
  return {
    parameters: Object.fromEntries(
      Object.entries(effective.parameters).map(([name, parameter]) => [
        name,
        narrowParameter(parameter, Object.hasOwn(own.parameters, name) ? own.parameters[name] : undefined),
      ]),
    ),
    ...given({
      regions,
      liveMax: least(effective.liveMax, own.liveMax, link.liveMax),
      liveMaxPerPrincipal: least(effective.liveMaxPerPrincipal, own.liveMaxPerPrincipal, link.liveMaxPerPrincipal),
      lifetimeMaxMilliseconds: least(effective.lifetimeMaxMilliseconds, limitsOf(own).lifetimeMaxMilliseconds),
    }),
  }
}

function narrowParameter(effective: EffectiveParameter, own: ParameterConstraint | undefined): EffectiveParameter {
  if (own === undefined) return effective
  const values = own.enum?.filter((value) => effective.enum?.includes(value) ?? true) ?? effective.enum
  return {
    declaration: effective.declaration,
    patterns: own.pattern === undefined ? effective.patterns : [...effective.patterns, own.pattern],
    ...given({
      enum: values,
      min: greatest(effective.min, own.min),
      max: least(effective.max, own.max),
    }),
  }
}

function limitsOf({ liveMax, liveMaxPerPrincipal, lifetimeMax }: ProductConstraints): Limits {
  return {
    ...{ liveMax, liveMaxPerPrincipal },
    lifetimeMaxMilliseconds: lifetimeMax === undefined ? undefined : findDuration(lifetimeMax),
  }
}

const least = (...numbers: ReadonlyArray<number | undefined>): number | undefined => {
  const present = numbers.filter((number) => number !== undefined)
  return present.length === 0 ? undefined : Math.min(...present)
}
const greatest = (...numbers: ReadonlyArray<number | undefined>): number | undefined => {
  const present = numbers.filter((number) => number !== undefined)
  return present.length === 0 ? undefined : Math.max(...present)
}

/** What is wrong with a value that a parameter may not have here; undefined where it may. */
export function findConstraintFault(effective: EffectiveParameter, value: ParameterValue): string | undefined {
  const { enum: values, min, max, patterns } = effective
  if (values && !values.includes(value)) return `may only be ${values.join(", ") || "nothing"}`
  if (typeof value === "number" && min !== undefined && value < min) return `may not be below ${min}`
  if (typeof value === "number" && max !== undefined && value > max) return `may not be above ${max}`
  const pattern = patterns.find((each) => !compilePattern(each)?.matcher(String(value)).find())
  return pattern === undefined ? undefined : `doesn't match ${pattern}`
}

export interface ConstraintFaults {
  /** What makes no sense whatever the source allows. */
  readonly invalid: readonly Issue[]
  /** What would allow more than the source does. */
  readonly widening: readonly Issue[]
}

/** What a portfolio allows: of each product, and in all. */
export interface EffectivePortfolio {
  readonly products: ReadonlyMap<string, EffectiveProduct>
  readonly liveMax?: number
  readonly liveMaxPerPrincipal?: number
}

/** What holds after all links; without links, what the products themselves allow. */
export function intersect(
  products: ReadonlyMap<string, ProductDefinition>,
  links: readonly PortfolioDefinition[],
): EffectivePortfolio {
  const effective = [...products].flatMap(([name, product]) => {
    const narrowed = narrowThrough(name, unconstrained(product), links)
    return narrowed ? [[name, narrowed] as const] : []
  })
  return {
    products: new Map(effective),
    ...given({
      liveMax: least(...links.map((link) => link.liveMax)),
      liveMaxPerPrincipal: least(...links.map((link) => link.liveMaxPerPrincipal)),
    }),
  }
}

/** Judges a portfolio against its source, or the products themselves. */
export function judgePortfolio(definition: PortfolioDefinition, source: EffectivePortfolio): ConstraintFaults {
  const invalid: Issue[] = []
  const widening: Issue[] = []
  for (const [name, own] of Object.entries(definition.products ?? {})) {
    const upstream = source.products.get(name)
    const path = `products.${name}`
    if (!upstream) {
      const message = definition.import === undefined ? "there is no such product" : "the source doesn't have it"
      ;(definition.import === undefined ? invalid : widening).push({ path, message })
      continue
    }
    for (const [parameter, constraint] of Object.entries(own.parameters)) {
      const known = Object.hasOwn(upstream.parameters, parameter) ? upstream.parameters[parameter] : undefined
      judgeParameter(constraint, known, { path: `${path}.parameters.${parameter}`, invalid, widening })
    }
    const unknown = own.regions?.find((region) => !upstream.regions?.includes(region))
    if (unknown !== undefined)
      widening.push({ path: `${path}.regions`, message: `"${unknown}" is no region of the source` })
    widening.push(...wideLimits({ path, own: limitsOf(own), upstream }))
  }
  const { liveMax, liveMaxPerPrincipal } = definition
  const totals = wideLimits({ path: "", own: { liveMax, liveMaxPerPrincipal }, upstream: source })
  return { invalid, widening: [...widening, ...totals] }
}

function wideLimits(of: { readonly path: string; readonly own: Limits; readonly upstream: Limits }): Issue[] {
  const { path, own, upstream } = of
  return (["liveMax", "liveMaxPerPrincipal", "lifetimeMaxMilliseconds"] as const).flatMap((name) => {
    const [wanted, bound] = [own[name], upstream[name]]
    if (wanted === undefined || bound === undefined || wanted <= bound) return []
    const isTime = name === "lifetimeMaxMilliseconds"
    const field = isTime ? "lifetimeMax" : name
    const message = `the source allows ${isTime ? formatDuration(bound) : bound} at most`
    return [{ path: path === "" ? field : `${path}.${field}`, message }]
  })
}

function judgeParameter(
  own: ParameterConstraint,
  upstream: EffectiveParameter | undefined,
  to: { readonly path: string; readonly invalid: Issue[]; readonly widening: Issue[] },
): void {
  const { path, invalid, widening } = to
  if (!upstream) return void invalid.push({ path, message: "the product has no such parameter" })
  const { declaration } = upstream
  const isNumber = declaration.type === "integer" || declaration.type === "number"
  if (!isNumber && (own.min !== undefined || own.max !== undefined))
    invalid.push({ path, message: "min and max are for numbers" })
  if (own.pattern !== undefined && declaration.type !== "string")
    invalid.push({ path, message: "a pattern is for strings" })
  if (own.pattern !== undefined && !compilePattern(own.pattern))
    invalid.push({ path, message: "the pattern is no RE2 expression" })
  for (const value of own.enum ?? []) {
    const fault = findValueFault(declaration, value) ?? findConstraintFault(upstream, value)
    if (fault !== undefined) widening.push({ path, message: `${JSON.stringify(value)} ${fault}` })
  }
  if (own.min !== undefined && upstream.min !== undefined && own.min < upstream.min)
    widening.push({ path, message: `the source allows ${upstream.min} at least` })
  if (own.max !== undefined && upstream.max !== undefined && own.max > upstream.max)
    widening.push({ path, message: `the source allows ${upstream.max} at most` })
  const together = narrowParameter(upstream, own)
  const { min = -Infinity, max = Infinity, enum: values } = together
  const isPossible = values?.some((value) => findConstraintFault(together, value) === undefined) ?? min <= max
  if (!isPossible) invalid.push({ path, message: "together with the source it allows nothing" })
}

/** Members that are present. */
function given<Fields extends Record<string, unknown>>(
  fields: Fields,
): { [Key in keyof Fields]?: NonNullable<Fields[Key]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never
}
