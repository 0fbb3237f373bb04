import { readFileSync } from "node:fs"
import { mkdir, readFile, rename, writeFile } from "node:fs/promises"
import { join } from "node:path"
import type { AddressInfo } from "node:net"
import { newId } from "@signalbox/kernel/id"
import { pino, type Logger } from "pino"
import { compose } from "./compose.ts"
import { publicDocuments } from "./http/documents.ts"
import { createEdge, type EdgeOptions } from "./http/edge.ts"
import { ensureServerTls } from "./http/certificate-authority.ts"
import {
  findFreePort,
  openBackendsListener,
  openMembersListener,
  planListener,
  urlHost,
  type PlannedListener,
} from "./http/listeners.ts"
import { IdleMemory } from "./idle-memory.ts"
import type { Settings } from "./settings.ts"
import { components } from "./storage/components.ts"
import { openDatabase, type Connection, type Database } from "./storage/database.ts"
import { masterKeyFiles, masterKeyInFile } from "./storage/master-key-file.ts"
import { openSigningKey } from "./storage/signing-key.ts"
import { migrate } from "./storage/migrator.ts"
import { openBlobStore } from "./storage/open-blob-store.ts"
import { startPrivatePostgres } from "./storage/private-postgres.ts"
import { serverStopLimits, stopParts } from "./stop-parts.ts"
import { systemClock, systemRandom } from "./system.ts"

/**
 * Starts a whole server: database, migrations, certificates, services, listener. Whatever was started is stopped again
 * in the opposite order, also when a later part fails to start.
 */
export interface RunningServer {
  readonly url: string
  readonly caPem?: string
  readonly caFingerprint?: string
  readonly database: Database
  stop(): Promise<void>
}

export const programVersion: string = (
  JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string }
).version

/** The file by which the command line on this machine finds the server and its first administrator's key. */
export const adminFile = "admin.json"

const loopback = /^(?:127(?:\.\d{1,3}){3}|::1|localhost)$/

export async function startServer(settings: Settings): Promise<RunningServer> {
  const logger = pino({ level: settings.logLevel, base: null }, pino.destination(2))
  const stops: Array<() => Promise<void>> = []
  const stopAll = (): Promise<void> => stopParts(stops, logger, serverStopLimits)
  try {
    return await startParts(settings, logger, { stops, stopAll })
  } catch (error) {
    await stopAll()
    throw error
  }
}

interface Stopping {
  readonly stops: Array<() => Promise<void>>
  readonly stopAll: () => Promise<void>
}

async function startParts(settings: Settings, logger: Logger, { stops, stopAll }: Stopping): Promise<RunningServer> {
  const { database, connection } = await startDatabase(settings, logger, stops)
  const tls = settings.insecure
    ? undefined
    : await ensureServerTls({
        directory: join(settings.data, "tls"),
        names: certificateNames(settings),
        clock: systemClock,
      })
  const port = await choosePort(settings)
  const url = settings.publicUrl ?? `${tls ? "https" : "http"}://${urlHost(settings.host)}:${port}`
  const here = { url, ...(tls ? { caPem: tls.caPem, caFingerprint: tls.caFingerprint } : {}) }
  const members = settings.members && (await planListener(settings.members, tls))
  const backends = settings.backends && (await planListener(settings.backends, tls))
  const isOnlyServer = settings.databaseUrl === undefined
  const blobs = await openBlobStore(settings.blobs, { dataDirectory: settings.data, isOnlyServer })
  stops.push(() => blobs.close())
  const composition = await compose({
    database,
    connection,
    clock: systemClock,
    random: systemRandom,
    logger,
    serverId: newId("server", systemClock, systemRandom),
    isOnlyServer,
    publicUrl: url,
    ...(members ? { membersUrl: members.url } : {}),
    ...settings.calls,
    egress: settings.egress,
    sessions: settings.sessions,
    blobs: { store: blobs.store, bytesMax: settings.blobs.bytesMax },
    ...(settings.mail === undefined ? {} : { mail: settings.mail }),
    masterKey: masterKeyInFile({ dataDirectory: settings.data, file: settings.masterKeyFile }),
    signingKey: await openSigningKey({ dataDirectory: settings.data, file: settings.signingKeyFile }),
    secretReferences: {
      kinds: settings.secretReferences,
      dataDirectory: settings.data,
      ownFiles: ownFilesOf(settings),
      environment: process.env,
    },
    ...(tls ? { caFingerprint: tls.caFingerprint } : {}),
    keepFirstKey: (key) => writeAdminFile(settings, { ...here, key }),
  })
  stops.push(() => composition.stop())
  const bound = await openListeners(
    {
      ...{ router: composition.router, receiver: composition.receiver, operations: composition.operations },
      ...{ clock: systemClock, random: systemRandom, logger, callsPerSecondMax: settings.callsPerSecond },
      answerPages: members === undefined,
      documents: publicDocuments({
        operations: composition.operations,
        version: programVersion,
        database,
        ...(tls ? { caPem: tls.caPem } : {}),
      }),
      ...(tls ? { tls } : {}),
    },
    { host: settings.host, port, members, backends, stops },
  )
  await writeAdminFile(settings, here)
  const memory = new IdleMemory()
  memory.start()
  stops.push(() => Promise.resolve(memory.stop()))
  logger.info(
    { url, port: bound, members: members?.url, backends: backends?.url, version: programVersion },
    "the server answers",
  )
  return { ...here, database, stop: stopAll }
}

/** What no reference to a secret may name. */
function ownFilesOf({ masterKeyFile, signingKeyFile, file }: Settings): string[] {
  return [...masterKeyFiles(masterKeyFile), ...[signingKeyFile, file].filter((path) => path !== undefined)]
}

/** Gives the port of the first one. */
async function openListeners(
  options: EdgeOptions,
  at: {
    readonly host: string
    readonly port: number
    readonly members: PlannedListener | undefined
    readonly backends: PlannedListener | undefined
    readonly stops: Stopping["stops"]
  },
): Promise<number> {
  const { host, port, members, backends, stops } = at
  const closing = (edge: { close(): Promise<unknown> }) => stops.push(async () => void (await edge.close()))
  const edge = await createEdge(options)
  closing(edge)
  if (members) closing(await openMembersListener(members, options))
  if (backends) closing(await openBackendsListener(backends, options))
  await edge.listen({ host, port })
  return (edge.server.address() as AddressInfo).port
}

async function startDatabase(
  settings: Settings,
  logger: Logger,
  stops: Stopping["stops"],
): Promise<{ database: Database; connection: Connection }> {
  let connection: Connection
  if (settings.databaseUrl === undefined) {
    const postgres = await startPrivatePostgres({ dataDirectory: settings.data, logger })
    stops.push(() => postgres.stop())
    connection = postgres.connection
  } else {
    await mkdir(settings.data, { recursive: true, mode: 0o700 })
    connection = settings.databaseUrl
  }
  await migrate({ connection, components, programVersion, logger })
  const database = await openDatabase({ connection, connectionsMax: settings.databaseConnections, logger })
  stops.push(() => database.close())
  return { database, connection }
}

/** A free port has to be known before the services start, since their URLs carry it. */
async function choosePort(settings: Settings): Promise<number> {
  if (settings.insecure && !loopback.test(settings.host)) {
    process.emitWarning("serving plain HTTP beyond loopback, as --insecure asks")
  }
  return settings.port === 0 ? await findFreePort(settings.host) : settings.port
}

function certificateNames(settings: Settings): string[] {
  const fromUrl = [settings.publicUrl, settings.members?.url]
    .filter((url) => url !== undefined)
    .map((url) => new URL(url).hostname)
  const hosts = [settings.host, settings.members?.host, settings.backends?.host].filter((host) => host !== undefined)
  return [
    ...new Set([...settings.tlsNames, ...fromUrl, ...hosts.filter((host) => host !== "0.0.0.0" && host !== "::")]),
  ]
}

/** Lets the command line on this machine log in: the first administrator's key, and where the server is now. */
async function writeAdminFile(settings: Settings, change: Record<string, string>): Promise<void> {
  const path = join(settings.data, adminFile)
  const before = await readFile(path, "utf8").catch(() => "{}")
  const content = JSON.stringify({ ...(JSON.parse(before) as object), ...change }, null, 2)
  await writeFile(`${path}.new`, `${content}\n`, { mode: 0o600 })
  await rename(`${path}.new`, path)
}
