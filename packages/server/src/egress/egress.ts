/**
 * The one way out (D24): every call that the server makes to an address somebody wrote down. It resolves the name
 * once, checks every address, and connects to those and to no other, so that no answer of a name server after the
 * check leads elsewhere. Redirects are answers like any other: whoever follows one calls again, through the check.
 * Owns the proxy's connections, and those that are kept open; other direct calls open and close their own.
 */
import { isIP, type LookupFunction } from "node:net"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import { Client, ProxyAgent, type Dispatcher } from "undici"
import { addressKind } from "./address-rule.ts"
import {
  checkedAddresses,
  hostOf,
  parseTarget,
  portOf,
  systemResolve,
  type AddressPolicy,
  type Resolve,
} from "./destination.ts"
import { matchesRule, type HostRule } from "./host-rule.ts"
import { readBounded, withDeadline } from "./bounds.ts"
import { egressLimits } from "./egress-limits.ts"
import { openGuardedPool, type OpenPool, type PoolWishes } from "./guarded-pool.ts"
import { KeptPools } from "./kept-pools.ts"
import { requestHeaders, requestMethod } from "./request-parts.ts"

export interface EgressRequest {
  /** An HTTP method; CONNECT and TRACE are refused. */
  readonly method: string
  /** http: or https:, without user and password. */
  readonly url: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
  /** For the whole call, the body's last byte included; 30 s unless told. */
  readonly timeoutMilliseconds?: number
  /** The most the answer's body may have; the call fails beyond it. */
  readonly responseBytesMax: number
  readonly signal?: AbortSignal
  /**
   * Whether the connection may be one that an earlier call left open. The other side may just then close it: for calls that
   * are tried again.
   */
  readonly isRepeatable?: boolean
  /** The authority that the other side's certificate must be of, in PEM; else the usual ones. */
  readonly ca?: string
}

export interface EgressResponse {
  readonly status: number
  /** Names in lower case; several headers of one name are joined by a comma. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

export interface Egress {
  /**
   * Makes one call. Any status is an answer; redirects are not followed. Messages name the host, never path or query.
   *
   * @throws egress.invalid-url, egress.invalid-request, egress.refused-address, egress.unreachable, egress.timeout,
   * egress.response-too-large; the signal's reason where it was aborted
   */
  request(request: EgressRequest): Promise<EgressResponse>
  /**
   * Connections to the origin of a base URL, for those who pass calls through. Whoever opens it closes it.
   *
   * @throws egress.invalid-url
   */
  openPool(url: string, wishes: PoolWishes): OpenPool
  /** Whether a call to this URL is allowed now. @throws egress.invalid-url, egress.refused-address, egress.unreachable */
  check(url: string): Promise<void>
  close(): Promise<void>
}

export interface EgressOptions extends AddressPolicy {
  /** All calls but those of `noProxy`, and to this machine, go through it. */
  readonly proxyUrl?: string
  readonly noProxy?: readonly HostRule[]
  readonly resolve?: Resolve
}

export function createEgress(options: EgressOptions): Egress {
  const proxy = options.proxyUrl === undefined ? undefined : new ProxyAgent(proxyOptions(options.proxyUrl))
  const pools = new KeptPools()
  return {
    async request(request) {
      const url = parseTarget(request.url)
      const method = requestMethod(request.method)
      const headers = requestHeaders(request)
      return withDeadline({ ...request, what: `${method} ${url.host}` }, async (signal) => {
        const { dispatcher, close } = await dispatcherFor(url, options, {
          proxy,
          pools: request.isRepeatable === true ? pools : undefined,
          ca: request.ca,
        })
        try {
          return await exchange(dispatcher, { url, method, headers, request, signal })
        } catch (error) {
          signal.throwIfAborted()
          throw toEgressError(error, url)
        } finally {
          close()
        }
      })
    },
    openPool(text, wishes) {
      const url = parseTarget(text)
      const resolve = options.resolve ?? systemResolve
      if (proxy === undefined || !goesByProxy(url, options.noProxy ?? []))
        return openGuardedPool(url, wishes, { policy: options, resolve })
      const nothing = (): Promise<void> => Promise.resolve()
      return {
        dispatcher: checkedProxy(proxy, () => checkWhatIsKnown(url, options, resolve)),
        close: nothing,
        destroy: nothing,
      }
    },
    async check(text) {
      await checkedAddresses(parseTarget(text), options, options.resolve ?? systemResolve)
    },
    close: async () => {
      await pools.destroy()
      await proxy?.destroy()
    },
  }
}

function proxyOptions(uri: string): ProxyAgent.Options {
  return {
    uri,
    allowH2: false,
    maxHeaderSize: egressLimits.headerBytesMax,
    connectTimeout: egressLimits.connectMilliseconds,
  }
}

interface Way {
  readonly dispatcher: Dispatcher
  readonly close: () => void
}

interface Owned {
  readonly proxy: ProxyAgent | undefined
  readonly pools: KeptPools | undefined
  readonly ca: string | undefined
}

async function dispatcherFor(url: URL, options: EgressOptions, { proxy, pools, ca }: Owned): Promise<Way> {
  const resolve = options.resolve ?? systemResolve
  // What the proxy is told to trust holds for all calls: a place with an authority of its own is reached directly.
  if (proxy !== undefined && ca === undefined && goesByProxy(url, options.noProxy ?? [])) {
    await checkWhatIsKnown(url, options, resolve)
    return { dispatcher: proxy, close: () => undefined }
  }
  const addresses = await checkedAddresses(url, options, resolve)
  const connection = {
    allowH2: false,
    maxHeaderSize: egressLimits.headerBytesMax,
    connect: {
      timeout: egressLimits.connectMilliseconds,
      lookup: pinned(addresses),
      ...(ca === undefined ? {} : { ca }),
    },
    headersTimeout: 0,
    bodyTimeout: 0,
  }
  if (pools)
    return {
      dispatcher: pools.use([url.origin, ...addresses, ca ?? ""], url.origin, connection),
      close: () => undefined,
    }
  const client = new Client(url.origin, connection)
  return { dispatcher: client, close: () => void client.destroy().catch(() => undefined) }
}

/** The proxy, asked only after the check. */
function checkedProxy(proxy: ProxyAgent, check: () => Promise<void>): Dispatcher {
  return proxy.compose((dispatch) => (call, handler) => {
    check().then(
      () => dispatch(call, handler),
      (error: unknown) => handler.onResponseError?.(undefined as never, error as Error),
    )
    return true
  })
}

/** This machine is never reached through a proxy: it would be another machine's loopback. */
function goesByProxy(url: URL, noProxy: readonly HostRule[]): boolean {
  const host = hostOf(url)
  if (host === "localhost" || (isIP(host) !== 0 && addressKind(host) === "refused")) return false
  return !noProxy.some((rule) => matchesRule(rule, { host, port: portOf(url) }))
}

/** Behind a proxy names may mean nothing here: the proxy resolves them, and what they are here must be allowed too. */
async function checkWhatIsKnown(url: URL, policy: AddressPolicy, resolve: Resolve): Promise<void> {
  try {
    await checkedAddresses(url, policy, resolve)
  } catch (error) {
    if (!isAppError(error) || error.code !== "egress.unreachable") throw error
  }
}

function pinned(addresses: readonly [string, ...string[]]): LookupFunction {
  const all = addresses.map((address) => ({ address, family: isIP(address) }))
  return (_host, lookupOptions, done) => {
    if (lookupOptions.all) done(null, all)
    else done(null, addresses[0], isIP(addresses[0]))
  }
}

interface Exchange {
  readonly url: URL
  readonly method: Dispatcher.HttpMethod
  readonly headers: Record<string, string>
  readonly request: EgressRequest
  readonly signal: AbortSignal
}

async function exchange(dispatcher: Dispatcher, call: Exchange): Promise<EgressResponse> {
  const { url, method, headers, request, signal } = call
  const response = await dispatcher.request({
    origin: url.origin,
    path: `${url.pathname}${url.search}`,
    method,
    headers,
    signal,
    ...(request.body === undefined ? {} : { body: request.body }),
  })
  const bytesMax = Math.min(request.responseBytesMax, egressLimits.responseBytesMax)
  const body = await readBounded(response, { bytesMax, host: url.host })
  const entries = Object.entries(response.headers).map(([name, value]) => [
    name.toLowerCase(),
    Array.isArray(value) ? value.join(", ") : (value ?? ""),
  ])
  return { status: response.statusCode, headers: Object.fromEntries(entries) as Record<string, string>, body }
}

function toEgressError(error: unknown, url: URL): unknown {
  if (isAppError(error)) return error
  const code = codeOf(error)
  if (code === "UND_ERR_HEADERS_OVERFLOW")
    return new AppError(
      "egress.response-too-large",
      `the headers of ${url.host} have more than ${egressLimits.headerBytesMax} bytes`,
      { cause: error },
    )
  if (code === "UND_ERR_CONNECT_TIMEOUT")
    return new AppError("egress.timeout", `connecting to ${url.host} took too long`, { cause: error })
  return new AppError("egress.unreachable", `the call to ${url.host} failed (${code ?? "no answer"})`, { cause: error })
}

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  if ("code" in error && typeof error.code === "string") return error.code
  if (error instanceof AggregateError) return error.errors.map(codeOf).find((code) => code !== undefined)
  return codeOf(error.cause)
}
