import { assert } from "@signalbox/kernel/assert"
import { findDuration } from "@signalbox/kernel/duration"
import { z } from "zod"
import { resourceName } from "./schemas.ts"

/**
 * Every setting of the server, once: its flag, its variable and its key in the file are made from its name
 * (`data` -> `--data`, `SIGNALBOX_DATA`, `data:`). Flags win over variables, variables over the file.
 */
interface SettingDeclaration {
  readonly schema: z.ZodType
  readonly help: string
  /** A variable that others know already. */
  readonly variable?: string
  /** How the default reads in help, where it isn't the value itself. */
  readonly defaultText?: string
}

const port = z.coerce.number().int().min(0).max(65_535)
/** In the file a list, elsewhere joined by commas. */
const list = z.union([z.string(), z.array(z.string())]).default([])
/** `host:port`, `[::1]:port`; port 0 takes a free one. */
const listenAddress = z
  .string()
  .regex(/^(?:\[[0-9a-fA-F:.]+\]|[^\s:[\]]+):\d{1,5}$/, "write host:port, such as 0.0.0.0:7444")
const flag = z.union([z.boolean(), z.enum(["true", "false"]).transform((text) => text === "true")])

const boundedDuration = z.string().refine((text) => {
  const milliseconds = findDuration(text)
  return milliseconds !== undefined && milliseconds >= 60_000 && milliseconds <= 90 * 86_400_000
}, "write a duration from 1m to 90d, such as 12h")

export const settingDeclarations = {
  data: {
    schema: z.string().min(1).optional(),
    help: "Directory of the private database, the blobs, the keys and the certificates",
    defaultText: "/var/lib/signalbox as root, else $XDG_DATA_HOME/signalbox",
  },
  "database-url": {
    schema: z.string().min(1).optional(),
    help: "PostgreSQL 15 or newer to use instead of the private one (postgres://…)",
    variable: "DATABASE_URL",
  },
  "database-connections": {
    schema: z.coerce.number().int().min(4).max(200).default(16),
    help: "Connections to the database at most",
  },
  host: { schema: z.string().min(1).default("127.0.0.1"), help: "Address to listen on; 0.0.0.0 for all" },
  port: { schema: port.default(7443), help: "Port to listen on; 0 takes a free one" },
  "public-url": {
    schema: z.url().optional(),
    help: "How nodes and people reach this server, where it isn't host and port",
  },
  "tls-names": {
    schema: list,
    help: "Further names and addresses for the server's certificate, joined by commas",
  },
  "members-listen": {
    schema: listenAddress.optional(),
    help: "Address and port of a listener of its own for the pages on which members of approval groups answer",
  },
  "members-url": { schema: z.url().optional(), help: "How members reach those pages, where it isn't that address" },
  "members-certificate": {
    schema: z.string().min(1).optional(),
    help: "PEM file with the certificate of the members' listener, and those above it; else one of the own CA",
  },
  "members-key": { schema: z.string().min(1).optional(), help: "PEM file with that certificate's key" },
  "backends-listen": {
    schema: listenAddress.optional(),
    help: "Address and port of a listener of its own for services that ask for approvals; it serves nothing else",
  },
  "backends-certificate": {
    schema: z.string().min(1).optional(),
    help: "PEM file with the certificate of the backends' listener; else one of the own CA",
  },
  "backends-key": { schema: z.string().min(1).optional(), help: "PEM file with that certificate's key" },
  insecure: { schema: flag.default(false), help: "Serve plain HTTP; beyond loopback only with this" },
  "calls-per-second": {
    schema: z.coerce.number().int().min(1).max(1_000_000).default(500),
    help: "Calls a second that one key, or one address without a key, may make",
  },
  "session-lifetime": {
    schema: boundedDuration.default("7d"),
    help: "How long a session of a user lasts at most, from 1m to 90d",
  },
  "session-idle": {
    schema: boundedDuration.default("24h"),
    help: "How long a session of a user lasts without being used, from 1m to 90d",
  },
  "master-key-file": {
    schema: z.string().min(1).optional(),
    help: "File with the master key of the secrets: 32 bytes in base64",
    defaultText: "master.key in the data directory, made at the first start",
  },
  "signing-key-file": {
    schema: z.string().min(1).optional(),
    help: "File with the key that checkpoints and approvals are signed with: Ed25519 in PEM (PKCS#8)",
    defaultText: "signing.key in the data directory, made at the first start",
  },
  destination: {
    schema: resourceName.optional(),
    help: "What this server is called as a destination of the routing map: it carries out what other servers of the installation send it",
    defaultText: "none: it takes no calls of other servers",
  },
  "trusted-signers": {
    schema: z.string().min(1).optional(),
    help: "File of public signing keys (PEM) of other installations, whose servers may send calls to this destination",
    defaultText: "none: only servers on the same database",
  },
  "secret-references": {
    schema: list,
    help: "Which references to this machine secrets may be: env, file and exec, joined by commas; none unless given",
  },
  "blobs-directory": {
    schema: z.string().min(1).optional(),
    help: "Directory of artifacts and long outputs; several servers need one that all of them mount, or S3",
    defaultText: "blobs in the data directory",
  },
  "blobs-bytes-max": {
    schema: z.coerce
      .number()
      .int()
      .min(1)
      .default(50 * 1024 ** 3),
    help: "Bytes that artifacts and long outputs may take together",
  },
  "blobs-s3-url": {
    schema: z.url({ protocol: /^https?$/ }).optional(),
    help: "S3-compatible store to use instead of the directory: https://HOST/BUCKET or https://HOST/BUCKET/PREFIX",
  },
  "blobs-s3-region": {
    schema: z.string().min(1).default("us-east-1"),
    help: "Region of the S3-compatible store",
    variable: "AWS_REGION",
  },
  "blobs-s3-access-key": {
    schema: z.string().min(1).optional(),
    help: "Access key of the S3-compatible store",
    variable: "AWS_ACCESS_KEY_ID",
  },
  "blobs-s3-secret-key": {
    schema: z.string().min(1).optional(),
    help: "Secret key of the S3-compatible store; give it by its variable or in the file",
    variable: "AWS_SECRET_ACCESS_KEY",
  },
  "egress-allow": {
    schema: list,
    help: "Addresses that outgoing calls may reach although this machine, its link and its cloud are refused: ranges, hosts or host:port, joined by commas",
  },
  "egress-private": {
    schema: z.enum(["allow", "deny"]).default("allow"),
    help: "Whether outgoing calls may reach private networks",
  },
  "egress-proxy": {
    schema: z
      .string()
      .transform((text) => (/^[a-z]+:\/\//i.test(text) ? text : `http://${text}`))
      .pipe(z.url({ protocol: /^https?$/ }))
      .optional(),
    help: "Forward proxy of outgoing calls",
    variable: "HTTPS_PROXY",
  },
  "egress-no-proxy": {
    schema: list,
    help: "Hosts that outgoing calls reach without the proxy, with all below them, joined by commas",
    variable: "NO_PROXY",
  },
  "smtp-url": {
    schema: z.url({ protocol: /^smtps?$/ }).optional(),
    help: "Mail server for notifications: smtp://user:password@host:587, or smtps:// for TLS from the first byte",
  },
  "smtp-starttls": {
    schema: z.enum(["require", "try", "never"]).default("require"),
    help: "Whether mail goes out only encrypted (smtps:// always is)",
  },
  "smtp-from": {
    schema: z.string().min(3).max(320).optional(),
    help: "Sender of mail, such as Signalbox <signalbox@example.org>; needed with smtp-url",
  },
  "smtp-ca-file": {
    schema: z.string().min(1).optional(),
    help: "Certificate authorities of the mail server, in PEM, beside the system's",
  },
  "log-level": {
    schema: z.enum(["silent", "error", "warn", "info", "debug"]).default("info"),
    help: "Which messages go to standard error, as JSON lines",
  },
} as const satisfies Record<string, SettingDeclaration>

export type SettingName = keyof typeof settingDeclarations

export function variableOf(name: SettingName): string {
  const declaration: SettingDeclaration = settingDeclarations[name]
  return declaration.variable ?? `SIGNALBOX_${name.toUpperCase().replaceAll("-", "_")}`
}

/** The value that a setting has when nobody gives it, as help shows it. */
export function defaultTextOf(name: SettingName): string | undefined {
  const declaration: SettingDeclaration = settingDeclarations[name]
  if (declaration.defaultText) return declaration.defaultText
  const result = declaration.schema.safeParse(undefined)
  assert(result.success, `setting ${name} has a default or is optional`)
  const value: unknown = result.data
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? `${value}` : undefined
}
