import { catalogLaunch } from "@signalbox/contracts/catalog/instances"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import { toIsoDuration } from "@signalbox/kernel/duration"
import { newId } from "@signalbox/kernel/id"
import { onChange, type CallPlan, type ChangeContext, type Handler, type ReadContext } from "../../router/handler.ts"
import { newOrder, tell } from "./instance-change.ts"
import { insertInstance, type InstanceRow } from "./instance-store.ts"
import { judgeLaunch, ownerOf, refuseOverQuota, type JudgedLaunch } from "./launch.ts"
import type { CatalogContext } from "./options.ts"
import { insertOrder } from "./order-store.ts"
import { toInstance } from "./wire.ts"

type Input = InputOf<typeof catalogLaunch>

export function launchHandlers(context: CatalogContext): Handler[] {
  return [
    onChange(catalogLaunch, (input, ctx) => launch(context, input, ctx), {
      plan: (input, ctx) => planLaunch(input, ctx),
    }),
  ]
}

/** The version, the values and the lifetime are settled now: that is what people approve. */
async function planLaunch(input: Input, { sql, caller }: ReadContext): Promise<CallPlan> {
  const judged = await judgeLaunch(sql, input, { caller, hold: false })
  const owner = ownerOf(caller)
  await refuseOverQuota(sql, judged, { product: input.product, owner })
  const { version, settled, chain, provisionerId } = judged
  const { parameters, region, lifetimeMilliseconds } = settled
  const lifetime = lifetimeMilliseconds === undefined ? undefined : toIsoDuration(lifetimeMilliseconds)
  const bound: Input = { ...input, version, parameters: { ...parameters }, region, lifetime }
  const called = input.name === undefined ? "" : ` as "${input.name}"`
  return {
    input: JSON.parse(JSON.stringify(bound)) as unknown,
    plan: {
      ...{ product: input.product, version, provisioner: provisionerId, owner },
      portfolios: chain.links.map(({ account, name }) => `${account}/${name}`),
    },
    title: `Launch ${input.product}${called} from ${input.portfolio}`,
    facts: [
      ["product", `${input.product}, version ${version}`],
      ...(region === undefined ? [] : [["region", region] as const]),
      ...Object.entries(parameters).map(([name, value]) => [name, String(value)] as const),
      ...(lifetime === undefined ? [] : [["ends after", lifetime] as const]),
    ],
  }
}

async function launch(
  context: CatalogContext,
  input: Input,
  ctx: ChangeContext,
): Promise<OutputOf<typeof catalogLaunch>> {
  const { tx, caller, now } = ctx
  const judged = await judgeLaunch(tx, input, { caller, hold: true })
  await refuseOverQuota(tx, judged, { product: input.product, owner: ownerOf(caller), lock: tx })
  const row = newInstance(context, input, { judged, ctx })
  const order = newOrder(
    { ...row, orderNumber: 0 },
    {
      kind: "provision",
      provisioner: judged.provisionerId,
      productVersion: row.productVersion,
      parameters: row.parameters,
      story: { cause: ctx.cause, causedBy: ctx.requestId, depth: ctx.depth + 1 },
    },
    now,
  )
  await insertInstance(tx, row)
  await insertOrder(tx, order)
  tell(ctx, row, { what: row.state, data: { version: row.productVersion } })
  ctx.afterCommit(() => context.waiters.added())
  return toInstance(row, order)
}

function newInstance(
  { clock, random }: CatalogContext,
  { portfolio, product, name }: Input,
  { judged, ctx }: { readonly judged: JudgedLaunch; readonly ctx: ChangeContext },
): InstanceRow {
  const { chain, version, settled } = judged
  const { account, caller, now, cause, depth } = ctx
  const { parameters, region, lifetimeMilliseconds } = settled
  return {
    id: newId("instance", clock, random),
    ...{ account, name: name ?? null, portfolio, product, region: region ?? null, parameters, cause, depth },
    state: "requested",
    chain: chain.links.map(({ id }) => id).toReversed(),
    providerAccount: chain.providerAccount,
    productVersion: version,
    owner: ownerOf(caller),
    ...{ outputs: {}, secretNames: [], secretOutputs: null, reason: null, orderNumber: 1 },
    expiresAt: lifetimeMilliseconds === undefined ? null : now + lifetimeMilliseconds,
    version: 1,
    ...{ createdAt: now, changedAt: now, endedAt: null },
  }
}
