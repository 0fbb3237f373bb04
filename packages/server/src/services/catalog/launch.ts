/** Judges a launch: what was asked for against the whole chain as it is now. Asked before the gate, and when it runs. */
import type { catalogLaunch } from "@signalbox/contracts/catalog/instances"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError, type Issue } from "@signalbox/kernel/app-error"
import { getDuration } from "@signalbox/kernel/duration"
import type { Caller } from "../../router/handler.ts"
import type { Sql, Tx } from "../../storage/database.ts"
import { readChain, type Chain } from "./chain.ts"
import { intersect } from "./constraints.ts"
import type { ProductDefinition } from "./definitions.ts"
import { countLive, lockQuotas } from "./instance-store.ts"
import { findRefusal, quotasOf, quotaText, settleLaunch, type Settled, type Wanted } from "./launch-rules.ts"
import { productNotFound } from "./product-handlers.ts"
import { findProduct, findProductVersion, holdProduct } from "./product-store.ts"

export interface JudgedLaunch {
  readonly chain: Chain
  readonly version: number
  readonly product: ProductDefinition
  /** The product's present one, whatever the version. */
  readonly provisionerId: string
  readonly settled: Settled
}

interface LaunchPlace {
  readonly account: string
  readonly portfolio: string
  readonly product: string
  /** Left out, the newest. */
  readonly version?: number | undefined
}

/**
 * `hold`: in the transaction that launches; until it ends nothing of the chain changes.
 *
 * @throws catalog.portfolio-not-found, catalog.source-gone, catalog.product-not-found, catalog.constraint-violated
 */
export async function judgeValues(
  sql: Sql,
  place: LaunchPlace,
  of: { readonly wanted: Wanted; readonly hold: boolean },
): Promise<JudgedLaunch> {
  const { account, portfolio, product: name } = place
  const chain = await readChain(sql, { account, name: portfolio }, { hold: of.hold })
  const { version, definition: product, provisionerId } = await getVersion(sql, chain, { ...place, hold: of.hold })
  const links = chain.links.map((link) => link.definition)
  const effective = intersect(new Map([[name, product]]), links).products.get(name)
  if (!effective) throw productNotFound(name)
  const { settled, issues } = settleLaunch(product, effective, of.wanted)
  refuse(name, portfolio, issues)
  return { chain, version, product, provisionerId, settled }
}

async function getVersion(
  sql: Sql,
  { providerAccount }: Chain,
  of: LaunchPlace & { readonly hold: boolean },
): Promise<Pick<JudgedLaunch, "version" | "provisionerId"> & { readonly definition: ProductDefinition }> {
  const name = of.product
  if (of.hold) await holdProduct(sql as Tx, providerAccount, name)
  const newest = await findProduct(sql, providerAccount, name)
  if (!newest) throw productNotFound(name)
  const { version = newest.version } = of
  const found = version === newest.version ? newest : await findProductVersion(sql, providerAccount, { name, version })
  if (!found) throw productNotFound(name, version)
  return { ...found, provisionerId: newest.definition.provisionerId }
}

function refuse(product: string, portfolio: string, issues: readonly Issue[]): void {
  const [first] = issues
  if (!first) return
  const message = `"${product}" can't be launched so from the portfolio "${portfolio}": ${first.path} ${first.message}`
  throw new AppError("catalog.constraint-violated", message, { issues })
}

/** @throws catalog.not-allowed, and as `judgeValues` */
export async function judgeLaunch(
  sql: Sql,
  input: InputOf<typeof catalogLaunch>,
  of: { readonly caller: Caller; readonly hold: boolean },
): Promise<JudgedLaunch> {
  const { caller, hold } = of
  const { account, teams = [], roles } = caller
  const { portfolio, product, version, parameters, region, lifetime } = input
  const wanted: Wanted = {
    ...{ parameters, region },
    lifetimeMilliseconds: lifetime === undefined ? undefined : getDuration(lifetime),
  }
  const judged = await judgeValues(sql, { account, portfolio, product, version }, { wanted, hold })
  const refusing = findRefusal(judged.chain.links, { account, principal: ownerOf(caller), teams, roles })
  if (refusing)
    throw new AppError("catalog.not-allowed", `${ownerOf(caller)} may not launch from the portfolio "${refusing.name}"`)
  return judged
}

/** Of a schedule's call its author. */
export function ownerOf({ principal, author }: Caller): string {
  return author ?? principal
}

/** @throws catalog.quota-exceeded; exact where the quotas are locked */
export async function refuseOverQuota(
  sql: Sql,
  { chain }: JudgedLaunch,
  of: { readonly product: string; readonly owner: string; readonly lock?: Tx },
): Promise<void> {
  const quotas = quotasOf(chain.links, of.product, of.owner)
  const [root] = chain.links
  // All portfolios that count this instance hang from one root, so one lock is enough and none can be taken crosswise.
  if (of.lock && root && quotas.length > 0) await lockQuotas(of.lock, root.id)
  for (const quota of quotas) {
    if ((await countLive(sql, quota)) >= quota.max)
      throw new AppError("catalog.quota-exceeded", quotaText(quota), { details: { max: quota.max } })
  }
}
