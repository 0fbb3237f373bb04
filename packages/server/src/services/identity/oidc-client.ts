import { AppError, isAppError } from "@signalbox/kernel/app-error"
import type { Clock } from "@signalbox/kernel/clock"
import type * as openidClient from "openid-client"
import type { Egress } from "../../egress/egress.ts"
import type { SecretReader } from "../../router/ports.ts"
import type { ProviderRow } from "./provider-store.ts"

/**
 * Talks to OpenID Connect providers: authorization code with PKCE, state and nonce. Everything goes through the egress
 * guard. Metadata and keys are read anew for each login, so that a rotated key is simply the one that is there.
 */
export interface OidcClient {
  /** @throws identity.provider-unusable */
  begin(provider: OidcProvider, redirectUri: string): Promise<OidcBeginning>
  /**
   * Exchanges the code and verifies what comes: signature, issuer, audience, times, nonce.
   *
   * @throws identity.provider-refused, identity.provider-unusable
   */
  complete(provider: OidcProvider, answer: OidcAnswer): Promise<OidcResult>
}

export interface OidcProvider {
  readonly account: string
  readonly row: Pick<ProviderRow, "name" | "spec">
}

export interface OidcBeginning {
  readonly authorizationUrl: string
  readonly state: string
  readonly nonce: string
  readonly codeVerifier: string
}

export interface OidcAnswer extends Pick<OidcBeginning, "state" | "nonce" | "codeVerifier"> {
  readonly callbackUrl: string
}

export interface OidcResult {
  /** Of the ID token, completed by the userinfo endpoint where there is one. */
  readonly claims: Readonly<Record<string, unknown>>
  /** Where a person ends their session at the provider. */
  readonly logoutUrl?: string
}

interface OidcParts {
  readonly egress: Pick<Egress, "request">
  readonly secrets: SecretReader
  readonly clock: Clock
}

const timeoutSeconds = 15
const responseBytesMax = 1024 * 1024
const clockToleranceSeconds = 30
const loopback = /^(?:127(?:\.\d{1,3}){3}|\[::1\]|localhost)$/

/** Why an issuer's URL can't be used; undefined where it can. */
export function findIssuerFault(issuer: string): string | undefined {
  const url = URL.parse(issuer)
  if (!url) return "write https://HOST/PATH"
  if (url.search !== "" || url.hash !== "" || url.username !== "" || url.password !== "")
    return "an issuer has no query, no fragment and no user"
  return url.protocol === "https:" || loopback.test(url.hostname) ? undefined : "plain http is for loopback only"
}

export function createOidcClient(parts: OidcParts): OidcClient {
  return {
    async begin(provider, redirectUri) {
      const client = await import("openid-client")
      const configuration = await configure(parts, client, provider)
      const [state, nonce, codeVerifier] = [client.randomState(), client.randomNonce(), client.randomPKCECodeVerifier()]
      const url = client.buildAuthorizationUrl(configuration, {
        redirect_uri: redirectUri,
        scope: [...new Set(["openid", ...provider.row.spec.scopes])].join(" "),
        state,
        nonce,
        code_challenge: await client.calculatePKCECodeChallenge(codeVerifier),
        code_challenge_method: "S256",
      })
      return { authorizationUrl: url.href, state, nonce, codeVerifier }
    },
    async complete(provider, answer) {
      const client = await import("openid-client")
      const configuration = await configure(parts, client, provider)
      client.enableNonRepudiationChecks(configuration)
      try {
        const tokens = await client.authorizationCodeGrant(configuration, new URL(answer.callbackUrl), {
          expectedState: answer.state,
          expectedNonce: answer.nonce,
          pkceCodeVerifier: answer.codeVerifier,
          idTokenExpected: true,
        })
        const idClaims = tokens.claims()
        if (!idClaims) throw new AppError("identity.provider-refused", "the provider sent no ID token")
        const { userinfo_endpoint: userinfo, end_session_endpoint: endSession } = configuration.serverMetadata()
        const more = userinfo ? await client.fetchUserInfo(configuration, tokens.access_token, idClaims.sub) : {}
        return {
          claims: { ...more, ...idClaims },
          ...(endSession ? { logoutUrl: client.buildEndSessionUrl(configuration).href } : {}),
        }
      } catch (error) {
        throw toLoginError(error, provider.row.name)
      }
    },
  }
}

async function configure(
  { egress, secrets, clock }: OidcParts,
  client: typeof openidClient,
  { account, row }: OidcProvider,
): Promise<openidClient.Configuration> {
  const { issuer, clientId, clientSecret } = row.spec
  const secret = clientSecret === undefined ? undefined : await readSecret(secrets, account, clientSecret)
  const metadata = {
    [client.clockTolerance]: clockToleranceSeconds,
    [client.clockSkew]: Math.round((clock.now() - Date.now()) / 1000),
  }
  try {
    return await client.discovery(new URL(issuer), clientId, metadata, clientAuthentication(client, secret), {
      [client.customFetch]: (url, options) => fetchThrough(egress, url, options),
      timeout: timeoutSeconds,
      execute: issuer.startsWith("http://") ? [allowPlainHttp(client)] : [],
    })
  } catch (error) {
    throw new AppError("identity.provider-unusable", `${issuer} can't be used as an issuer: ${reasonOf(error)}`, {
      cause: error,
    })
  }
}

/** Issuers on plain http are on loopback only, which is checked when they are written down. */
function allowPlainHttp(client: typeof openidClient): (configuration: openidClient.Configuration) => void {
  return client["allowInsecureRequests"]
}

async function readSecret(secrets: SecretReader, account: string, name: string): Promise<string> {
  try {
    const { [name]: found } = await secrets.read(account, [name])
    if (found) return found.value
  } catch (cause) {
    throw new AppError("identity.provider-unusable", `the client's secret "${name}" can't be read`, { cause })
  }
  throw new AppError("identity.provider-unusable", `there is no secret "${name}" for the client`)
}

/** By the method that the provider takes; basic where it says nothing, as the standard has it. */
function clientAuthentication(client: typeof openidClient, secret: string | undefined): openidClient.ClientAuth {
  if (secret === undefined) return client.None()
  const [basic, post] = [client.ClientSecretBasic(secret), client.ClientSecretPost(secret)]
  return (server, ...rest) => {
    const methods = server.token_endpoint_auth_methods_supported ?? ["client_secret_basic"]
    return methods.includes("client_secret_basic") ? basic(server, ...rest) : post(server, ...rest)
  }
}

const bodilessStatuses = new Set([204, 205, 304])

async function fetchThrough(
  egress: Pick<Egress, "request">,
  url: string,
  options: openidClient.CustomFetchOptions,
): Promise<Response> {
  const { body, method, headers, signal } = options
  const {
    status,
    headers: received,
    body: content,
  } = await egress.request({
    method,
    url,
    headers,
    responseBytesMax,
    timeoutMilliseconds: timeoutSeconds * 1000,
    ...(body === undefined || body === null ? {} : { body: textOf(body) }),
    ...(signal ? { signal } : {}),
  })
  return new Response(bodilessStatuses.has(status) ? null : new Uint8Array(content), { status, headers: received })
}

function textOf(body: NonNullable<openidClient.FetchBody>): string {
  if (typeof body === "string") return body
  if (body instanceof URLSearchParams) return body.toString()
  throw new Error("the client sends forms only")
}

function toLoginError(error: unknown, provider: string): AppError {
  const known = findAppError(error)
  if (known?.code === "identity.provider-refused") return known
  const code = known ? "identity.provider-unusable" : "identity.provider-refused"
  return new AppError(code, `the login by "${provider}" failed: ${reasonOf(error)}`, { cause: error })
}

function findAppError(error: unknown): AppError | undefined {
  if (isAppError(error)) return error
  return error instanceof Error ? findAppError(error.cause) : undefined
}

const reasonCharactersMax = 300

function challengeOf(challenges: ReadonlyArray<{ readonly parameters?: Readonly<Record<string, string>> }>): string {
  const said = challenges.flatMap(({ parameters = {} }) => [parameters["error"], parameters["error_description"]])
  return said.filter((text) => text !== undefined).join(": ")
}

/** What the provider or the check says; never what it was about, which holds codes and tokens. */
function reasonOf(error: unknown): string {
  const known = findAppError(error)
  if (known) return known.message
  if (!(error instanceof Error)) return "no reason was given"
  if (Array.isArray(error.cause)) return `it answered with the challenge ${challengeOf(error.cause)}`
  const said = "error" in error && typeof error.error === "string" ? `it answered "${error.error}"` : error.message
  const more =
    "error_description" in error && typeof error.error_description === "string" ? `: ${error.error_description}` : ""
  const inner = error.cause instanceof Error && !("error" in error) ? ` (${error.cause.message})` : ""
  return `${said}${more}${inner}`.replaceAll(/[\p{Cc}]/gu, " ").slice(0, reasonCharactersMax)
}
