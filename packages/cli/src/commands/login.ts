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
import { askForKey, askToTrust } from "./login-questions.ts"

export function addLogin(program: Command, frame: CommandFrame): void {
  const command = addCommand(program, "login", "Store the way to a server and the key to use there")
    .option("--local", "the server on this machine, as its first administrator")
    .option("--data <directory>", "with --local: the server's data directory, where it isn't the usual one")
    .option("--server <url>", "the server's URL [SIGNALBOX_SERVER]")
    .option("--key <key>", "the API key; asked for where it is left out [SIGNALBOX_KEY]")
    .option("--key-file <file>", "file with the API key; - for standard input")
    .option("--ca-fingerprint <sha256>", "fingerprint of the server's own CA, which is then the only one trusted")
    .option("--ca-file <file>", "the server's CA in PEM [SIGNALBOX_CA_FILE]")
    .option("--name <name>", "name of the stored login (default: local, or the server's host)")
  onRun(command, frame, { connects: false, run: login })
}

interface Draft {
  readonly name: string
  readonly context: Context
}

async function login(context: CommandContext): Promise<void> {
  const draft = context.options["local"] === true ? await localContext(context) : await remoteContext(context)
  const who = await whoami(draft.context)
  const name = textOption(context, "name") ?? draft.name
  const path = contextFilePath(context.io.environment)
  const file = await readContexts(path)
  await writeContexts(path, { current: name, contexts: { ...file.contexts, [name]: draft.context } })
  const { url, caFingerprint } = draft.context
  const shown = { name, url, ...(caFingerprint ? { caFingerprint } : {}), ...who }
  const { account, principal, roles } = who
  await context.show(
    shown,
    () =>
      safeLine(`logged in to ${url} as ${principal} of ${account} (${roles.join(", ")}); stored as "${name}"`) + "\n",
  )
}

const adminFile = z.object({
  url: z.string(),
  key: z.string(),
  caPem: z.string().optional(),
  caFingerprint: z.string().optional(),
})

/** A server leaves its address and its first key where only its own user can read them. */
async function localContext(context: CommandContext): Promise<Draft> {
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

async function remoteContext(context: CommandContext): Promise<Draft> {
  const { environment } = context.io
  const server = textOption(context, "server") ?? environment["SIGNALBOX_SERVER"]
  if (!server) throw new AppError("cli.usage", "give --server URL, or --local for the server on this machine")
  const url = URL.parse(server)
  if (!url) throw new AppError("cli.usage", `"${server}" is no URL; write https://HOST:PORT`)
  const authority = url.protocol === "https:" ? await trustedAuthority(context, server) : undefined
  const key = await readKey(context)
  return { name: url.hostname, context: { url: server.replace(/\/+$/, ""), key, ...authority } }
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
  const { createClient } = await import("@signalbox/sdk/client")
  const { url, key, caPem } = context
  const client = createClient({ url, ...(key ? { key } : {}), ...(caPem ? { caPem } : {}), userAgent: "signalbox-cli" })
  try {
    return await client.call(authWhoami, {})
  } finally {
    await client.close()
  }
}
