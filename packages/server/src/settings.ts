import { readFileSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"
import { referenceKinds, type ReferenceKind } from "@signalbox/contracts/secrets/operations"
import { settingDeclarations, variableOf, type SettingName } from "@signalbox/contracts/server-settings"
import { AppError } from "@signalbox/kernel/app-error"
import { getDuration } from "@signalbox/kernel/duration"
import { parse } from "yaml"
import type { EgressOptions } from "./egress/egress.ts"
import type { BlobSettings } from "./storage/open-blob-store.ts"
import { parseHostRule, type HostRule } from "./egress/host-rule.ts"
import type { MailSettings } from "./mail-settings.ts"

export interface Settings {
  readonly data: string
  readonly databaseUrl?: string
  readonly databaseConnections: number
  readonly host: string
  readonly port: number
  readonly publicUrl?: string
  readonly members?: ListenerSettings
  readonly backends?: ListenerSettings
  readonly tlsNames: readonly string[]
  readonly insecure: boolean
  readonly callsPerSecond: number
  readonly sessions: { readonly lifetimeMilliseconds: number; readonly idleMilliseconds: number }
  readonly egress: EgressOptions
  readonly mail?: MailSettings
  readonly blobs: BlobSettings
  readonly masterKeyFile?: string
  readonly signingKeyFile?: string
  /** What calls of other servers it takes. */
  readonly calls: {
    /** What the routing map calls this server, where others may send it calls. */
    readonly destination?: string
    /** Public keys of other installations whose servers may do so too, in PEM. */
    readonly trustedSigners: readonly string[]
  }
  /** The file that some of these come from. */
  readonly file?: string
  readonly secretReferences: readonly ReferenceKind[]
  readonly logLevel: "silent" | "error" | "warn" | "info" | "debug"
}

/** A listener beside the one that all else comes to (A17). */
export interface ListenerSettings {
  readonly host: string
  readonly port: number
  /** How it is reached from outside, where that is told. */
  readonly url?: string
  /** Else the own CA's. */
  readonly tls?: { readonly certPem: string; readonly keyPem: string }
}

/** Where the server keeps its data unless told otherwise. */
export function defaultDataDirectory(): string {
  if (process.getuid?.() === 0) return "/var/lib/signalbox"
  return join(process.env["XDG_DATA_HOME"] ?? join(homedir(), ".local", "share"), "signalbox")
}

/**
 * Joins flags, variables and the file into checked settings.
 *
 * @throws settings.invalid with one issue a setting
 */
export function readSettings(sources: {
  readonly flags: Readonly<Record<string, unknown>>
  readonly variables: Readonly<Record<string, string | undefined>>
  readonly file?: string
}): Settings {
  const file = sources.file === undefined ? {} : readSettingsFile(sources.file)
  const issues: Array<{ path: string; message: string }> = []
  const values: Record<string, unknown> = {}
  const names = Object.keys(settingDeclarations) as SettingName[]
  for (const name of names) {
    const given = sources.flags[name] ?? sources.variables[variableOf(name)] ?? file[name]
    const result = settingDeclarations[name].schema.safeParse(given === "" ? undefined : given)
    if (result.success) values[name] = result.data
    else issues.push({ path: name, message: result.error.issues[0]?.message ?? "invalid" })
  }
  for (const name of Object.keys(file)) {
    if (!Object.hasOwn(settingDeclarations, name))
      issues.push({ path: name, message: `${sources.file} has an unknown setting` })
  }
  const [first] = issues
  if (first) throw new AppError("settings.invalid", `setting ${first.path}: ${first.message}`, { issues })
  return {
    data: (values["data"] as string | undefined) ?? defaultDataDirectory(),
    databaseConnections: values["database-connections"] as number,
    host: values["host"] as string,
    port: values["port"] as number,
    tlsNames: listOf(values["tls-names"]),
    egress: egressSettings(values),
    blobs: blobSettings(values),
    ...mailSettings(values),
    secretReferences: listOf(values["secret-references"]).map(referenceKind),
    insecure: values["insecure"] as boolean,
    callsPerSecond: values["calls-per-second"] as number,
    sessions: {
      lifetimeMilliseconds: getDuration(values["session-lifetime"] as string),
      idleMilliseconds: getDuration(values["session-idle"] as string),
    },
    logLevel: values["log-level"] as Settings["logLevel"],
    ...(sources.file === undefined ? {} : { file: sources.file }),
    ...(values["database-url"] === undefined ? {} : { databaseUrl: values["database-url"] as string }),
    ...(values["master-key-file"] === undefined ? {} : { masterKeyFile: values["master-key-file"] as string }),
    ...(values["signing-key-file"] === undefined ? {} : { signingKeyFile: values["signing-key-file"] as string }),
    calls: {
      trustedSigners: trustedSigners(values["trusted-signers"] as string | undefined),
      ...(values["destination"] === undefined ? {} : { destination: values["destination"] as string }),
    },
    ...(values["public-url"] === undefined ? {} : { publicUrl: values["public-url"] as string }),
    ...listenerSettings("members", values),
    ...listenerSettings("backends", values),
  }
}

/** @throws settings.invalid where one of certificate and key is missing or can't be read */
function listenerSettings<Name extends "members" | "backends">(
  name: Name,
  values: Readonly<Record<string, unknown>>,
): { readonly [Each in Name]?: ListenerSettings } {
  const listen = values[`${name}-listen`] as string | undefined
  const url = values[`${name}-url`] as string | undefined
  const certificate = values[`${name}-certificate`] as string | undefined
  const key = values[`${name}-key`] as string | undefined
  if ((certificate === undefined) !== (key === undefined))
    throw new AppError(
      "settings.invalid",
      `setting ${name}-certificate: give ${name}-key with it, and the other way round`,
    )
  if (listen === undefined) {
    if (certificate === undefined && url === undefined) return {}
    throw new AppError("settings.invalid", `setting ${name}-listen: the other settings of this listener need it`)
  }
  const at = listen.lastIndexOf(":")
  const listener: ListenerSettings = {
    host: listen.slice(0, at).replace(/^\[(.*)\]$/, "$1"),
    port: Number(listen.slice(at + 1)),
    ...(url === undefined ? {} : { url }),
    ...(certificate === undefined || key === undefined
      ? {}
      : { tls: { certPem: readPem(`${name}-certificate`, certificate), keyPem: readPem(`${name}-key`, key) } }),
  }
  return { [name]: listener } as { readonly [Each in Name]?: ListenerSettings }
}

function readPem(setting: string, path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch (cause) {
    throw new AppError("settings.invalid", `setting ${setting}: ${path} can't be read`, { cause })
  }
}

/** @throws settings.invalid where the file can't be read or holds no keys */
function trustedSigners(path: string | undefined): string[] {
  if (path === undefined) return []
  const keys = readPem("trusted-signers", path).match(/-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----/g) ?? []
  if (keys.length === 0) throw new AppError("settings.invalid", `setting trusted-signers: ${path} has no public key`)
  return keys
}

function listOf(value: unknown): string[] {
  return (typeof value === "string" ? value.split(",") : (value as string[])).map((text) => text.trim()).filter(Boolean)
}

/** @throws settings.invalid where an S3 store has no keys */
function blobSettings(values: Readonly<Record<string, unknown>>): BlobSettings {
  const data = (values["data"] as string | undefined) ?? defaultDataDirectory()
  const url = values["blobs-s3-url"] as string | undefined
  const [accessKey, secretKey] = [values["blobs-s3-access-key"], values["blobs-s3-secret-key"]]
  if (url !== undefined && (typeof accessKey !== "string" || typeof secretKey !== "string"))
    throw new AppError("settings.invalid", "setting blobs-s3-url: give blobs-s3-access-key and blobs-s3-secret-key too")
  return {
    directory: (values["blobs-directory"] as string | undefined) ?? join(data, "blobs"),
    bytesMax: values["blobs-bytes-max"] as number,
    ...(url === undefined
      ? {}
      : {
          s3: {
            url,
            region: values["blobs-s3-region"] as string,
            accessKey: accessKey as string,
            secretKey: secretKey as string,
          },
        }),
  }
}

function referenceKind(text: string): ReferenceKind {
  const kind = referenceKinds.find((known) => known === text)
  if (kind) return kind
  throw new AppError("settings.invalid", `setting secret-references: "${text}" is none of ${referenceKinds.join(", ")}`)
}

/** @throws settings.invalid where an entry of a list is no host and no range */
function egressSettings(values: Readonly<Record<string, unknown>>): EgressOptions {
  const proxyUrl = values["egress-proxy"] as string | undefined
  return {
    allow: listOf(values["egress-allow"]).map(allowRule),
    privateAllowed: values["egress-private"] === "allow",
    // NO_PROXY is written for other programs too: a host means all below it, and what is no host is passed over.
    noProxy: listOf(values["egress-no-proxy"])
      .map(parseHostRule)
      .filter((rule) => rule !== undefined)
      .map((rule) => (rule.kind === "host" ? { ...rule, below: true } : rule)),
    ...(proxyUrl === undefined ? {} : { proxyUrl }),
  }
}

/** @throws settings.invalid where the sender is missing or the certificates can't be read */
function mailSettings(values: Readonly<Record<string, unknown>>): { mail?: MailSettings } {
  const url = values["smtp-url"] as string | undefined
  if (url === undefined) return {}
  const from = values["smtp-from"] as string | undefined
  if (from === undefined)
    throw new AppError("settings.invalid", "setting smtp-from: give the sender of mail beside smtp-url")
  if (!isDecodable(url))
    throw new AppError("settings.invalid", "setting smtp-url: a % in the user or the password is written %25")
  const startTls = values["smtp-starttls"] as MailSettings["startTls"]
  const caFile = values["smtp-ca-file"] as string | undefined
  try {
    return { mail: { url, from, startTls, ...(caFile === undefined ? {} : { caPem: readFileSync(caFile, "utf8") }) } }
  } catch (cause) {
    throw new AppError("settings.invalid", `setting smtp-ca-file: ${caFile} can't be read`, { cause })
  }
}

function isDecodable(url: string): boolean {
  try {
    const { username, password } = new URL(url)
    return decodeURIComponent(username + password) !== undefined
  } catch {
    return false
  }
}

function allowRule(text: string): HostRule {
  const rule = parseHostRule(text)
  if (!rule) throw new AppError("settings.invalid", `setting egress-allow: "${text}" is no host, host:port or range`)
  return rule
}

function readSettingsFile(path: string): Record<string, unknown> {
  let content: unknown
  try {
    content = parse(readFileSync(path, "utf8"))
  } catch (cause) {
    throw new AppError("settings.invalid", `the settings file ${path} can't be read`, { cause })
  }
  if (content === null || content === undefined) return {}
  if (typeof content !== "object" || Array.isArray(content))
    throw new AppError("settings.invalid", `the settings file ${path} is no mapping`)
  return content as Record<string, unknown>
}
