import { createHash } from "node:crypto"
import { identityLimits } from "@signalbox/contracts/identity/identity-limits"
import { userSessionsBegin, userSessionsComplete } from "@signalbox/contracts/identity/user-sessions"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { toInstant } from "@signalbox/kernel/clock"
import { onChange, type ChangeContext, type Handler, type ReadContext } from "../../router/handler.ts"
import { admitUser } from "./admit-user.ts"
import type { IdentityContext } from "./identity-context.ts"
import { countAttempt, forgetAttempts } from "./login-attempts.ts"
import { createOidcClient, type OidcBeginning, type OidcClient } from "./oidc-client.ts"
import { readIdentity, type OidcIdentity } from "./oidc-identity.ts"
import { openSession } from "./open-session.ts"
import { providerNotFound } from "./provider-handlers.ts"
import { insertProviderLogin, takeProviderLogin } from "./provider-login-store.ts"
import { findProvider, readProviders, type ProviderRow } from "./provider-store.ts"

type BeginInput = InputOf<typeof userSessionsBegin>
type CompleteInput = InputOf<typeof userSessionsComplete>

interface Begun extends OidcBeginning {
  readonly provider: ProviderRow
}

interface Verified {
  readonly provider: ProviderRow
  readonly identity: OidcIdentity
  readonly logoutUrl: string | undefined
}

const attemptBytes = 32
const attemptMilliseconds = identityLimits.providerLoginMinutes * 60_000

/** Logins by a provider: it is asked before the transaction, never inside. */
export function providerLoginHandlers(context: IdentityContext): Handler[] {
  const oidc = createOidcClient(context)
  const begun = new WeakMap<BeginInput, Begun>()
  const verified = new WeakMap<CompleteInput, Verified>()
  return [
    onChange(
      userSessionsBegin,
      (input, ctx) => {
        const found = begun.get(input)
        assert(found, "a login is prepared before its transaction")
        return begin(context, ctx, { begun: found, redirectUri: input.redirectUri })
      },
      { prepare: async (input, ctx) => void begun.set(input, await prepareBegin(oidc, input, ctx)) },
    ),
    onChange(
      userSessionsComplete,
      async (input, ctx) => {
        const found = verified.get(input)
        assert(found, "a login is prepared before its transaction")
        const { user, created } = await admitUser(context, ctx, found)
        const { provider, logoutUrl } = found
        return { ...(await openSession(context, ctx, { user, provider: provider.name, logoutUrl })), created }
      },
      { prepare: async (input, ctx) => void verified.set(input, await verify(oidc, input, ctx)) },
    ),
  ]
}

async function prepareBegin(oidc: OidcClient, input: BeginInput, ctx: ReadContext): Promise<Begun> {
  const { account, sql, now, sourceAddress } = ctx
  await countAttempt(sql, { account, sourceAddress }, now)
  const provider = await chooseProvider(ctx, input.provider)
  const beginning = await oidc.begin({ account, row: provider }, plainUrl(input.redirectUri))
  return { provider, ...beginning }
}

/** @throws identity.provider-not-found */
async function chooseProvider({ sql, account }: ReadContext, name: string | undefined): Promise<ProviderRow> {
  const enabled = (await readProviders(sql, account)).filter(({ spec }) => spec.enabled)
  const [only] = name === undefined ? enabled : enabled.filter((each) => each.name === name)
  if (name === undefined && enabled.length > 1)
    throw new AppError(
      "identity.provider-not-found",
      `say which identity provider: ${enabled.map((each) => each.name).join(", ")}`,
    )
  if (only) return only
  if (name !== undefined) throw providerNotFound(name)
  throw new AppError("identity.provider-not-found", "there is no identity provider in this account")
}

async function begin(
  context: IdentityContext,
  ctx: ChangeContext,
  { begun, redirectUri }: { readonly begun: Begun; readonly redirectUri: string },
) {
  const attempt = Buffer.from(context.random.bytes(attemptBytes)).toString("base64url")
  const expiresAt = ctx.now + attemptMilliseconds
  const { provider, authorizationUrl, state, nonce, codeVerifier } = begun
  await insertProviderLogin(ctx.tx, {
    ...{ state, nonce, codeVerifier, expiresAt },
    account: ctx.account,
    attemptHash: hashAttempt(attempt),
    provider: provider.name,
    issuer: provider.spec.issuer,
    redirectUri: plainUrl(redirectUri),
  })
  return { attempt, provider: provider.name, authorizationUrl, expiresAt: toInstant(expiresAt) }
}

async function verify(oidc: OidcClient, input: CompleteInput, ctx: ReadContext): Promise<Verified> {
  const { account, sql, now, sourceAddress } = ctx
  const login = await takeProviderLogin(sql, { account, attemptHash: hashAttempt(input.attempt), now })
  if (!login || plainUrl(input.callbackUrl) !== login.redirectUri)
    throw new AppError("identity.login-expired", "this login can't be completed any more, or not with this URL")
  const provider = await findProvider(sql, account, login.provider)
  if (!provider?.spec.enabled || provider.spec.issuer !== login.issuer) throw providerNotFound(login.provider)
  const { state, nonce, codeVerifier } = login
  const { callbackUrl } = input
  const result = await oidc.complete({ account, row: provider }, { state, nonce, codeVerifier, callbackUrl })
  await forgetAttempts(sql, { account, sourceAddress })
  return { provider, identity: readIdentity(result.claims, provider.spec), logoutUrl: result.logoutUrl }
}

function hashAttempt(attempt: string): string {
  return createHash("sha256").update(attempt).digest("hex")
}

/** Without query and fragment, always written the same way. */
function plainUrl(text: string): string {
  const url = new URL(text)
  url.search = ""
  url.hash = ""
  return url.href
}
