/**
 * Connections to one place that are kept for many calls, each of them checked when it is made: whatever a name means by
 * then, a connection leads only to where it may.
 */
import { isIP, type LookupFunction } from "node:net"
import { buildConnector, Pool, type Dispatcher } from "undici"
import { checkedAddresses, hostOf, type AddressPolicy, type Resolve } from "./destination.ts"
import { egressLimits } from "./egress-limits.ts"

export interface PoolWishes {
  readonly connectMilliseconds: number
  readonly connectionsMax: number
}

/** Where calls to one place are given to; their bodies, headers and times are the caller's to bound. */
export interface OpenPool {
  readonly dispatcher: Dispatcher
  /** Resolves once the calls under way have ended; takes no further ones. */
  close(): Promise<void>
  destroy(): Promise<void>
}

export function openGuardedPool(
  url: URL,
  wishes: PoolWishes,
  { policy, resolve }: { readonly policy: AddressPolicy; readonly resolve: Resolve },
): OpenPool {
  const pool = new Pool(url.origin, {
    connections: wishes.connectionsMax,
    pipelining: 1,
    allowH2: false,
    maxHeaderSize: egressLimits.headerBytesMax,
    connect: guardedConnector(url, wishes, { policy, resolve }),
  })
  return { dispatcher: pool, close: () => pool.close(), destroy: () => pool.destroy() }
}

function guardedConnector(
  url: URL,
  { connectMilliseconds }: PoolWishes,
  { policy, resolve }: { readonly policy: AddressPolicy; readonly resolve: Resolve },
): buildConnector.connector {
  const lookup: LookupFunction = (_host, options, done) => {
    checkedAddresses(url, policy, resolve).then(
      (addresses) => {
        const all = addresses.map((address) => ({ address, family: isIP(address) }))
        if (options.all) done(null, all)
        else done(null, addresses[0], isIP(addresses[0]))
      },
      (error: unknown) => done(error as NodeJS.ErrnoException, []),
    )
  }
  const connect = buildConnector({ allowH2: false, timeout: connectMilliseconds, lookup })
  if (isIP(hostOf(url)) === 0) return connect
  // No name is looked up for an address: it is checked here.
  return (options, callback) => {
    checkedAddresses(url, policy, resolve).then(
      () => connect(options, callback),
      (error: unknown) => callback(error as Error, null),
    )
  }
}
