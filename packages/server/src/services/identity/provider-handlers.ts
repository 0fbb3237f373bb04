import { identityLimits } from "@signalbox/contracts/identity/identity-limits"
import {
  identityProvidersApply,
  identityProvidersGet,
  identityProvidersList,
  identityProvidersRemove,
} from "@signalbox/contracts/identity/identity-providers"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import { AppError, type Issue } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { toInstant } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import { onChange, onRead, type ChangeContext, type Handler, type ReadContext } from "../../router/handler.ts"
import { decodeCursor } from "../../storage/cursor.ts"
import { principalsChanged, type IdentityContext } from "./identity-context.ts"
import { findIssuerFault } from "./oidc-client.ts"
import { rolesGiven } from "./oidc-identity.ts"
import { page } from "./page.ts"
import { checkGrantable, checkNotOutranked, joined } from "./principal-model.ts"
import {
  countProviders,
  deleteProvider,
  findProvider,
  listProviders,
  lockProvider,
  putProvider,
  type ProviderRow,
  type ProviderSpec,
} from "./provider-store.ts"
import { readUsersOfProvider } from "./user-store.ts"

type Input = InputOf<typeof identityProvidersApply>

export function providerHandlers(context: IdentityContext): Handler[] {
  return [
    onChange(identityProvidersApply, (input, ctx) => apply(context, input, ctx), {
      prepare: (input, ctx) => refuseInvalid(context, input, ctx),
    }),
    onRead(identityProvidersGet, async ({ name }, { sql, account }) => {
      const row = await findProvider(sql, account, name)
      if (!row) throw providerNotFound(name)
      return toProvider(row)
    }),
    onRead(identityProvidersList, async (input, { sql, account }) => {
      const [after = ""] = input.cursor ? decodeCursor(input.cursor, 1) : []
      const rows = await listProviders(sql, account, { after: String(after), limit: input.limit + 1 })
      return page(rows, input.limit, { item: toProvider, key: ({ name }) => name })
    }),
    onChange(identityProvidersRemove, async ({ name }, ctx) => {
      const row = await lockProvider(ctx.tx, ctx.account, name)
      if (!row) throw providerNotFound(name)
      await checkAuthority(ctx, row)
      await deleteProvider(ctx.tx, ctx.account, name)
      emit(ctx, { ...row, version: row.version + 1 }, "identity-provider.removed")
      await principalsChanged(context, ctx)
      return { name }
    }),
  ]
}

export const providerNotFound = (name: string): AppError =>
  new AppError("identity.provider-not-found", `there is no identity provider "${name}" in this account`)

async function refuseInvalid(context: IdentityContext, input: Input, { account }: ReadContext): Promise<void> {
  const issues: Issue[] = []
  const fault = findIssuerFault(input.issuer)
  if (fault !== undefined) issues.push({ path: "issuer", message: fault })
  const { clientSecret } = input
  if (clientSecret !== undefined && !(await context.secrets.versions(account, [clientSecret]))[clientSecret])
    issues.push({
      path: "clientSecret",
      message: `there is no secret "${clientSecret}"; store it with \`signalbox secrets put\``,
    })
  const groups = input.groups.map(({ group }) => group)
  const repeated = groups.find((group, index) => groups.indexOf(group) !== index)
  if (repeated !== undefined) issues.push({ path: "groups", message: `the group "${repeated}" is there twice` })
  if (issues.length > 0)
    throw new AppError("identity.invalid-provider", `the identity provider ${input.name} is not right`, { issues })
}

async function apply(context: IdentityContext, { name, ...spec }: Input, ctx: ChangeContext) {
  checkGrantable(ctx.caller.permissions, rolesGiven(spec))
  const existing = await lockProvider(ctx.tx, ctx.account, name)
  if (existing && canonicalJson(existing.spec) === canonicalJson(spec))
    return { ...toProvider(existing), changed: false }
  await checkAuthority(ctx, existing ?? { name, spec })
  if (!existing && (await countProviders(ctx.tx, ctx.account)) >= identityLimits.providersMax)
    throw new AppError("identity.too-many", `an account has ${identityLimits.providersMax} identity providers at most`)
  const row = await putProvider(ctx.tx, ctx.account, {
    id: existing?.id ?? newId("identityProvider", context.clock, context.random),
    name,
    spec,
    changedBy: ctx.caller.principal,
    now: ctx.now,
  })
  emit(ctx, row, existing ? "identity-provider.changed" : "identity-provider.created")
  await principalsChanged(context, ctx)
  return { ...toProvider(row), changed: true }
}

/**
 * Whoever says where a provider is can log in as anybody who uses it, so it takes the authority of all of them, and of
 * whatever its groups give.
 *
 * @throws identity.outranked
 */
async function checkAuthority(
  ctx: ChangeContext,
  provider: { readonly name: string; readonly spec: Pick<ProviderSpec, "groups"> },
): Promise<void> {
  const { permissions } = ctx.caller
  checkNotOutranked(permissions, { id: `the provider "${provider.name}"`, roles: rolesGiven(provider.spec) })
  for (const user of await readUsersOfProvider(ctx.tx, ctx.account, provider.name))
    checkNotOutranked(permissions, { id: user.id, roles: joined(user.roles, user.claimedRoles) })
}

function emit(ctx: ChangeContext, { id, name, spec, version }: ProviderRow, type: string): void {
  const data = { name, issuer: spec.issuer, admit: spec.admit, enabled: spec.enabled }
  ctx.emit({ aggregate: id, type, subject: id, version, data })
}

function toProvider(row: ProviderRow): OutputOf<typeof identityProvidersGet> {
  const { id, name, spec, version, changedBy } = row
  const [createdAt, changedAt] = [toInstant(row.createdAt), toInstant(row.changedAt)]
  return { ...spec, ...{ id, name, version, createdAt, changedAt, changedBy } }
}
