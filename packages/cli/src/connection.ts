import { AppError } from "@signalbox/kernel/app-error"
import type { Client } from "@signalbox/sdk/client"
import { type Command, Option } from "commander"
import { contextFilePath, readContexts } from "./contexts.ts"
import { readInputFile } from "./input-file.ts"
import type { Io } from "./io.ts"

export interface ConnectionOptions {
  readonly server?: string
  readonly key?: string
  readonly caFile?: string
  readonly context?: string
}

/** Which server, and as whom: the same options on every command that calls one. */
export function addConnectionOptions(command: Command): void {
  const group = "Connection:"
  const options = [
    new Option("--context <name>", "a stored login; else the current one").env("SIGNALBOX_CONTEXT"),
    new Option("--server <url>", "the server, instead of a stored login").env("SIGNALBOX_SERVER"),
    new Option("--key <key>", "the API key for --server").env("SIGNALBOX_KEY"),
    new Option("--ca-file <file>", "the only CA to trust for --server, in PEM").env("SIGNALBOX_CA_FILE"),
  ]
  for (const option of options) command.addOption(withoutEnvironment(option).helpGroup(group))
}

// Commander would read process.environment at once; ours is part of Io and read in `resolveConnection`.
function withoutEnvironment(option: Option): Option {
  option.description = `${option.description} [${option.envVar}]`
  delete option.envVar
  return option
}

export interface ResolvedConnection {
  readonly url: string
  readonly key?: string
  readonly caPem?: string
}

/**
 * Options win over variables, both over stored logins. A stored key is only ever sent to the server that it was
 * stored for.
 *
 * @throws cli.not-logged-in, cli.usage
 */
export async function resolveConnection(options: ConnectionOptions, io: Io): Promise<ResolvedConnection> {
  const { environment } = io
  const chosen = options.context ?? (options.server === undefined ? environment["SIGNALBOX_CONTEXT"] : undefined)
  const server = options.server ?? (chosen === undefined ? environment["SIGNALBOX_SERVER"] : undefined)
  if (options.server !== undefined && options.context !== undefined) {
    throw new AppError("cli.usage", "give --server or --context, not both")
  }
  if (server) {
    const key = options.key ?? environment["SIGNALBOX_KEY"]
    const caFile = options.caFile ?? environment["SIGNALBOX_CA_FILE"]
    return {
      url: server,
      ...(key ? { key } : {}),
      ...(caFile ? { caPem: await readInputFile(caFile, io) } : {}),
    }
  }
  const path = contextFilePath(environment)
  const file = await readContexts(path)
  const name = chosen || file.current
  if (!name) throw new AppError("cli.not-logged-in", "there is no stored login")
  const context = file.contexts[name]
  if (!context) {
    const known = Object.keys(file.contexts).join(", ") || "none"
    throw new AppError("cli.usage", `there is no stored login "${name}"; there is: ${known}`)
  }
  return { url: context.url, key: options.key ?? context.key, ...(context.caPem ? { caPem: context.caPem } : {}) }
}

export async function connect(options: ConnectionOptions, io: Io): Promise<Client> {
  const connection = await resolveConnection(options, io)
  const { createClient } = await import("@signalbox/sdk/client")
  return createClient({ ...connection, userAgent: "signalbox-cli" })
}
