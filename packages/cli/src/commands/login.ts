import { authWhoami } from "@signalbox/contracts/identity/operations"
import { AppError, hasCode } from "@signalbox/kernel/app-error"
import type { OutputOf } from "@signalbox/contracts/operation"
import type { Command } from "commander"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { z } from "zod"
import { addCommand, type CommandContext, type CommandFrame, onRun, textOption } from "../command.ts"
import { type Context, contextFilePath, readContexts, writeContexts } from "../contexts.ts"
import { readInputFile } from "../input-file.ts"
import { safeLine } from "../output/safe-text.ts"
import { loginByProvider, providerOption } from "./login-provider.ts"
import { askForKey, askToTrust } from "./login-questions.ts"
import { loginByPassword, withClient } from "./login-user.ts"

export function addLogin(program: Command, frame: CommandFrame): void {
  const command = addCommand(program, "login", "Log in to a server, and store the way to it")
    .option("--local", "the server on this machine, as its first administrator")
    .option("--data <directory>", "with --local: the server's data directory, where it isn't the usual one")
    .option("--server <url>", "the server's URL [SIGNALBOX_SERVER]")
    .option("--key <key>", "the API key; asked for where it is left out [SIGNALBOX_KEY]")
    .option("--key-file <file>", "file with the API key; - for standard input")
    .option("--ca-fingerprint <sha256>", "fingerprint of the server's own CA, which is then the only one trusted")
    .option("--ca-file <file>", "the server's CA in PEM [SIGNALBOX_CA_FILE]")
    .option("--user <name>", "log in as this user, with a password")
    .option("--password-file <file>", "with --user: file with the password; - for standard input; else it is asked for")
    .option("--code <code>", "with --user: a one-time code, by which the password is set as a new one first")
    .option("--oidc [provider]", "log in by an identity provider, in a browser")
    .option(
      "--callback-port <port>",
      "with --oidc: where the browser comes back to, if the provider takes only one port",
    )
    .option("--account <id>", "with --user and --oidc: the account (default: main)")
    .option(
      "--name <name>",
      "name of the stored login (default: local or the server's host; USER@ before it for a user)",
    )
  onRun(command, frame, { connects: false, run: login })
}

interface Draft {
  readonly name: string
  readonly context: Context
}

/** A server and how to trust it; with `--local` the first administrator's key too. */
interface Place {
  readonly name: string
  readonly context: Omit<Context, "key"> & { readonly key?: string }
}

async function login(context: CommandContext): Promise<void> {
  const place = context.options["local"] === true ? await localPlace(context) : await remotePlace(context)
  const draft = await enter(context, place)
  const who = await whoami(draft.context)
  const name = textOption(context, "name") ?? draft.name
  const path = contextFilePath(context.io.environment)
  const file = await readContexts(path)
  await writeContexts(path, { current: name, contexts: { ...file.contexts, [name]: draft.context } })
  const { url, caFingerprint } = draft.context
  const { name: user, ...rest } = who
  const shown = { name, url, ...(caFingerprint ? { caFingerprint } : {}), ...(user ? { user } : {}), ...rest }
  const { account, principal, roles } = who
  const person = user === undefined ? principal : `${user} (${principal})`
  await context.show(
    shown,
    () => safeLine(`logged in to ${url} as ${person} of ${account} (${roles.join(", ")}); stored as "${name}"`) + "\n",
  )
}

/** By password, by a provider, or by a key. */
async function enter(context: CommandContext, { name, context: place }: Place): Promise<Draft> {
  const user = textOption(context, "user")
  const provider = providerOption(context)
  const only = (option: string, needs: boolean): void => {
    if (context.options[option] !== undefined && !needs)
      throw new AppError("cli.usage", `--${option} goes with ${option === "code" ? "--user" : "--user or --oidc"}`)
  }
  if (user !== undefined && provider) throw new AppError("cli.usage", "give --user or --oidc, not both")
  only("code", user !== undefined)
  only("account", user !== undefined || provider !== undefined)
  if (user === undefined && !provider)
    return { name, context: { ...place, key: place.key ?? (await readKey(context)) } }
  const person = provider
    ? await loginByProvider(context, place, provider.name)
    : await loginByPassword(context, place, user ?? "")
  return { name: `${person.user}@${name}`, context: { ...place, key: person.token } }
}

const adminFile = z.object({
  url: z.string(),
  key: z.string(),
  caPem: z.string().optional(),
  caFingerprint: z.string().optional(),
})

/** A server leaves its address and its first key where only its own user can read them. */
async function localPlace(context: CommandContext): Promise<Place> {
  const { defaultDataDirectory } = await import("@signalbox/server/settings")
  const data = textOption(context, "data") ?? (context.io.environment["SIGNALBOX_DATA"] || defaultDataDirectory())
  const path = join(data, "admin.json")
  let text: string
  try {
    text = await readFile(path, "utf8")
  } catch (cause) {
    const denied = cause instanceof Error && "code" in cause && cause.code === "EACCES"
    const message = denied
      ? `${path} belongs to another user; log in as the user that runs the server`
      : `no server has run on this machine with the data directory ${data}`
    throw new AppError(denied ? "cli.file-unreadable" : "cli.no-server", message, { cause })
  }
  const parsed = adminFile.safeParse(parseJson(text))
  if (!parsed.success) throw new AppError("cli.file-unreadable", `${path} is not what a server writes there`)
  const { caPem, caFingerprint, ...rest } = parsed.data
  return {
    name: "local",
    context: { ...rest, ...(caPem ? { caPem } : {}), ...(caFingerprint ? { caFingerprint } : {}) },
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

async function remotePlace(context: CommandContext): Promise<Place> {
  const { environment } = context.io
  const server = textOption(context, "server") ?? environment["SIGNALBOX_SERVER"]
  if (!server) throw new AppError("cli.usage", "give --server URL, or --local for the server on this machine")
  const url = URL.parse(server)
  if (!url) throw new AppError("cli.usage", `"${server}" is no URL; write https://HOST:PORT`)
  const authority = url.protocol === "https:" ? await trustedAuthority(context, server) : undefined
  return { name: url.hostname, context: { url: server.replace(/\/+$/, ""), ...authority } }
}

async function readKey(context: CommandContext): Promise<string> {
  const file = textOption(context, "keyFile")
  const key =
    file === undefined
      ? (textOption(context, "key") ?? context.io.environment["SIGNALBOX_KEY"])
      : await readInputFile(file, context.io)
  return key?.trim() || (await askForKey(context.io))
}

type Authority = Pick<Context, "caPem" | "caFingerprint">

/** The CA to pin; nothing where a public one vouches for the server. */
async function trustedAuthority(context: CommandContext, server: string): Promise<Authority> {
  const { fetchAuthority, fingerprintOf, normalizeFingerprint } = await import("@signalbox/sdk/pinned-authority")
  const file = textOption(context, "caFile") ?? context.io.environment["SIGNALBOX_CA_FILE"]
  if (file) {
    const caPem = await readInputFile(file, context.io)
    return { caPem, caFingerprint: fingerprintOf(caPem) }
  }
  const given = textOption(context, "caFingerprint")
  if (given === undefined) {
    if (await isPubliclyTrusted(server)) return {}
    const offered = await fetchAuthority(server)
    await askToTrust(context.io, { server, fingerprint: offered.fingerprint })
    return { caPem: offered.caPem, caFingerprint: offered.fingerprint }
  }
  const expected = normalizeFingerprint(given)
  if (expected === undefined) throw new AppError("cli.usage", "--ca-fingerprint takes a SHA-256: 64 hexadecimal digits")
  const { caPem, fingerprint } = await fetchAuthority(server)
  if (fingerprint !== expected) {
    throw new AppError(
      "cli.certificate-untrusted",
      `the CA of ${server} has the fingerprint ${fingerprint}, not ${expected}`,
    )
  }
  return { caPem, caFingerprint: fingerprint }
}

async function isPubliclyTrusted(server: string): Promise<boolean> {
  try {
    await whoami({ url: server, key: "" })
    return true
  } catch (error) {
    if (hasCode(error, "cli.certificate-untrusted")) return false
    if (hasCode(error, "cli.no-server")) throw error
    return true
  }
}

async function whoami(context: Context): Promise<OutputOf<typeof authWhoami>> {
  return await withClient(context, (client) => client.call(authWhoami, {}))
}
