/** Headers of calls to services outside that belong to one connection (RFC 9110, 7.6.1): they go no further. */
export const hopByHop: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
])

/** Said anew at this hop. */
export const saidHere: ReadonlySet<string> = new Set([
  "authorization",
  "expect",
  "forwarded",
  "host",
  "http2-settings",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-port",
  "x-forwarded-prefix",
  "x-forwarded-proto",
  "x-forwarded-server",
  "x-real-ip",
  "x-request-id",
])

/** What tells who calls is ours to say: a caller's or a service's own are dropped. */
export const ownPrefix = "signalbox-"
