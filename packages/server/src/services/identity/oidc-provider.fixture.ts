import { generateKeyPairSync } from "node:crypto"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type Provider from "oidc-provider"
import type { JWK } from "oidc-provider"

/** A real OpenID Connect provider on loopback, and a browser that logs in there by itself. */
export interface OidcFixture {
  readonly issuer: string
  readonly clientSecret: string
  /** Who logs in next, and what the provider says of them. */
  person: { readonly sub: string } & Readonly<Record<string, unknown>>
  /** From now on tokens are signed by another key. */
  rotateKeys(): void
  /** Shows keys that its tokens were not signed by. */
  lieAboutKeys: boolean
  /** Claims to be another issuer. */
  lieAboutIssuer: boolean
  /** Follows the redirects of a login, and gives the URL at which the person arrives. */
  browse(authorizationUrl: string): Promise<string>
  stop(): Promise<void>
}

export const oidcClientId = "signalbox"
const clientSecret = "the client's secret"
export const redirectUri = "http://127.0.0.1:9/callback"

export async function startOidcFixture(): Promise<OidcFixture> {
  const { default: OidcProvider } = await import("oidc-provider")
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const state = { key: newKey("first"), provider: undefined as Provider | undefined }
  const fixture: OidcFixture = {
    issuer,
    clientSecret,
    person: { sub: "nobody" },
    lieAboutKeys: false,
    lieAboutIssuer: false,
    rotateKeys() {
      state.key = newKey("second")
      state.provider = makeProvider(OidcProvider, { issuer, key: state.key, fixture })
    },
    browse: (authorizationUrl) => browse(authorizationUrl),
    stop: () => stop(server),
  }
  state.provider = makeProvider(OidcProvider, { issuer, key: state.key, fixture })
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    const { provider } = state
    if (!provider) return
    if (request.url?.startsWith("/interaction/")) {
      const result = { login: { accountId: fixture.person.sub }, consent: {} }
      void provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false })
    } else if (fixture.lieAboutKeys && request.url === "/jwks") {
      response.setHeader("content-type", "application/jwk-set+json")
      response.end(JSON.stringify({ keys: [{ ...publicPart(newKey("forged")), kid: state.key.kid }] }))
    } else if (fixture.lieAboutIssuer && request.url?.startsWith("/.well-known/")) {
      response.setHeader("content-type", "application/json")
      response.end(JSON.stringify({ issuer: "https://another.example.org", authorization_endpoint: `${issuer}/auth` }))
    } else {
      void provider.callback()(request, response)
    }
  })
  return fixture
}

function makeProvider(
  OidcProvider: typeof Provider,
  { issuer, key, fixture }: { readonly issuer: string; readonly key: JWK; readonly fixture: OidcFixture },
): Provider {
  return new OidcProvider(issuer, {
    clients: [
      {
        client_id: oidcClientId,
        client_secret: clientSecret,
        redirect_uris: [redirectUri],
        application_type: "native",
        token_endpoint_auth_method: "client_secret_basic",
      },
    ],
    jwks: { keys: [key] },
    cookies: { keys: ["a cookie key of the fixture"] },
    scopes: ["openid", "profile", "email", "groups"],
    claims: {
      profile: ["name", "preferred_username"],
      email: ["email", "email_verified"],
      groups: ["groups"],
    },
    ttl: { IdToken: 60, AccessToken: 60, AuthorizationCode: 60, Interaction: 600, Session: 600, Grant: 600 },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_context, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_context, sub) => ({
      accountId: sub,
      claims: () => ({ ...fixture.person, sub }),
    }),
    async loadExistingGrant(context) {
      const { client, session, provider } = context.oidc
      const grant = new provider.Grant({
        ...(client ? { clientId: client.clientId } : {}),
        ...(session?.accountId ? { accountId: session.accountId } : {}),
      })
      grant.addOIDCScope("openid profile email groups")
      await grant.save()
      return grant
    },
  })
}

function newKey(kid: string): JWK {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 })
  return { ...(privateKey.export({ format: "jwk" }) as object), kid, alg: "RS256", use: "sig" } as JWK
}

function publicPart({ kty, n, e, alg, use }: JWK): object {
  return { kty, n, e, alg, use }
}

const redirectsMax = 20

async function browse(authorizationUrl: string): Promise<string> {
  const cookies = new Map<string, string>()
  let url = authorizationUrl
  for (let hop = 0; hop < redirectsMax; hop++) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ")
    const response = await fetch(url, { redirect: "manual", headers: { cookie } })
    for (const line of response.headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (value === "") cookies.delete(name)
      else cookies.set(name, value)
    }
    const location = response.headers.get("location")
    if (location === null)
      throw new Error(`the provider stopped at ${url}: ${response.status} ${await response.text()}`)
    url = new URL(location, url).href
    if (new URL(url).pathname === new URL(redirectUri).pathname) return url
  }
  throw new Error("the provider redirects for ever")
}

async function stop(server: Server): Promise<void> {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
}
