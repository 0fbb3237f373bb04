/** The bounds of every call that leaves the server; a caller may ask for less, never for more. */
export const egressLimits = {
  timeoutMilliseconds: 30_000,
  timeoutMillisecondsMax: 600_000,
  connectMilliseconds: 10_000,
  headersMax: 64,
  headerBytesMax: 64 * 1024,
  requestBytesMax: 16 * 1024 * 1024,
  responseBytesMax: 64 * 1024 * 1024,
  /** How long a connection stays open without a call: less than receivers usually keep theirs. */
  keptMilliseconds: 4_000,
  keptConnectionsMax: 8,
  keptPlacesMax: 64,
} as const
