import { createHash, createPublicKey, randomUUID, X509Certificate, type KeyObject } from "node:crypto"
import { chmod, mkdir, readFile, rm, stat } from "node:fs/promises"
import { hostname } from "node:os"
import { join } from "node:path"
import { nodesEnroll } from "@signalbox/contracts/fleet/operations"
import { AppError, isErrorCode } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import {
  type AgentIdentity,
  makePrivateKey,
  readMachineId,
  readPrivateKey,
  writeIdentity,
  writePrivateFile,
} from "./agent-identity.ts"
import { takeLock } from "./agent-lock.ts"
import { callServer, connectionAgent, parseServerUrl, type Reply, serverEndpoint } from "./server-transport.ts"

export interface EnrollOptions {
  readonly serverUrl: string
  /** An enrolment key or one-time code. */
  readonly key: string
  /** SHA-256 of the server's CA certificate (DER), in hex; `sha256:`, colons and case don't matter. */
  readonly caFingerprint?: string
  /** A PEM file to trust instead of asking the server for its CA. */
  readonly caFile?: string
  /** Allows plain HTTP away from loopback. */
  readonly insecure?: boolean
  /** The node's name; made of the host name where absent. */
  readonly name?: string
  readonly tags?: Readonly<Record<string, string>>
  readonly dataDirectory: string
}

const caFileName = "ca.pem"
const pendingFileName = "enrollment.json"

/**
 * Makes this machine a node: pins the server's CA, makes a key, registers its public half, and writes the identity.
 * After a reply that got lost the same call finishes the same enrolment: key and Idempotency-Key are kept until then.
 *
 * @throws agent.already-enrolled, agent.already-running, settings.invalid, settings.plaintext-refused,
 *   cli.certificate-untrusted, cli.no-server, and what the server answers (fleet.enrollment-key-expired, …)
 */
export async function enrollAgent(options: EnrollOptions): Promise<AgentIdentity> {
  const { dataDirectory } = options
  const url = parseServerUrl(options.serverUrl, options.insecure === true)
  await mkdir(dataDirectory, { recursive: true, mode: 0o700 })
  await chmod(dataDirectory, 0o700)
  const lock = await takeLock(dataDirectory)
  try {
    if (await stat(join(dataDirectory, "identity.json")).catch(() => undefined)) {
      throw new AppError("agent.already-enrolled", `${dataDirectory} holds an identity already`)
    }
    const ca = url.protocol === "https:" ? await findCertificateAuthority(url, options) : undefined
    const body = { name: options.name ?? defaultNodeName(), machineId: readMachineId(), tags: options.tags ?? {} }
    const { privateKey, idempotencyKey } = await beginEnrollment(dataDirectory, {
      server: url.href,
      key: options.key,
      ...body,
    })
    const publicKey = createPublicKey(privateKey).export({ type: "spki", format: "der" }).toString("base64")
    const reply = await callServer(serverEndpoint(url, "/v1/nodes:enroll"), {
      method: "POST",
      agent: connectionAgent(url, { ...(ca !== undefined && { ca }) }),
      headers: {
        authorization: `Bearer ${options.key}`,
        "content-type": "application/json",
        "idempotency-key": idempotencyKey,
      },
      body: JSON.stringify({ ...body, publicKey }),
    })
    const enrolled = parseReply(url, reply)
    if (ca !== undefined) await writePrivateFile(dataDirectory, caFileName, ca)
    const identity: AgentIdentity = {
      version: 1,
      ...{ node: enrolled.node, name: enrolled.name, account: enrolled.account },
      serverUrl: url.href.replace(/\/$/, ""),
      ...(ca !== undefined && { caFile: caFileName }),
      ...(options.insecure === true && { insecure: true }),
    }
    await writeIdentity(dataDirectory, identity)
    await rm(join(dataDirectory, pendingFileName), { force: true })
    return identity
  } finally {
    await lock.release()
  }
}

/** The CA to trust from now on, checked against its fingerprint; undefined: the system's certificates decide. */
async function findCertificateAuthority(url: URL, options: EnrollOptions): Promise<string | undefined> {
  if (options.caFile !== undefined) {
    return await readFile(options.caFile, "utf8").catch((cause: unknown) => {
      throw new AppError("cli.file-unreadable", `the CA file ${options.caFile} can't be read`, { cause })
    })
  }
  if (options.caFingerprint === undefined) return undefined
  const expected = normalizeFingerprint(options.caFingerprint)
  // Nothing is believed that this connection says, except what the fingerprint then proves.
  const reply = await callServer(serverEndpoint(url, "/v1/ca.pem"), {
    method: "GET",
    agent: connectionAgent(url, { verify: false }),
  })
  const certificate = parseCertificate(reply)
  const found = certificate && createHash("sha256").update(certificate.raw).digest("hex")
  if (!certificate || found !== expected) {
    const message = `the CA of ${url.origin} has the fingerprint ${found ?? "(none)"}, not ${expected}`
    throw new AppError("cli.certificate-untrusted", message)
  }
  return certificate.toString()
}

function parseCertificate(reply: Reply): X509Certificate | undefined {
  try {
    return reply.status === 200 ? new X509Certificate(reply.body) : undefined
  } catch {
    return undefined
  }
}

/** @throws settings.invalid */
export function normalizeFingerprint(text: string): string {
  const hex = text
    .trim()
    .toLowerCase()
    .replace(/^sha256:/, "")
    .replaceAll(":", "")
  if (!/^[0-9a-f]{64}$/.test(hex)) {
    throw new AppError("settings.invalid", "a CA fingerprint is a SHA-256: 64 hexadecimal digits, colons allowed")
  }
  return hex
}

/** A host name as a node's name: what the name may not hold becomes a dash. */
export function defaultNodeName(host: string = hostname()): string {
  const name = host
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-")
    .slice(0, 63)
  return name.replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, "") || "node"
}

/** Key and Idempotency-Key of this enrolment: those of an earlier try with the same words, else new ones. */
async function beginEnrollment(
  directory: string,
  request: { readonly key: string; readonly [field: string]: unknown },
): Promise<{ privateKey: KeyObject; idempotencyKey: string }> {
  const digest = createHash("sha256").update(canonicalJson(request)).digest("hex")
  const text = await readFile(join(directory, pendingFileName), "utf8").catch(() => undefined)
  const pending = parsePending(text)
  if (pending?.digest === digest) {
    const privateKey = await readPrivateKey(directory).catch(() => undefined)
    if (privateKey) return { privateKey, idempotencyKey: pending.idempotencyKey }
  }
  const privateKey = await makePrivateKey(directory)
  const idempotencyKey = randomUUID()
  await writePrivateFile(directory, pendingFileName, JSON.stringify({ digest, idempotencyKey }))
  return { privateKey, idempotencyKey }
}

function parsePending(text: string | undefined): { digest: string; idempotencyKey: string } | undefined {
  try {
    return text === undefined ? undefined : (JSON.parse(text) as { digest: string; idempotencyKey: string })
  } catch {
    return undefined
  }
}

function parseReply(url: URL, reply: Reply) {
  let body: unknown
  try {
    body = JSON.parse(reply.body)
  } catch (cause) {
    throw new AppError(
      "cli.no-server",
      `${url.origin} answered ${reply.status} with no JSON: is it a Signalbox server?`,
      { cause },
    )
  }
  if (reply.status === 202) throw new AppError("request.invalid-input", "the server holds the enrolment for approval")
  const parsed = nodesEnroll.output.safeParse(body)
  if (reply.status >= 200 && reply.status < 300 && parsed.success) return parsed.data
  const { code, detail } = (body ?? {}) as Partial<Record<string, unknown>>
  const message = typeof detail === "string" ? detail : `enrolment was answered with ${reply.status}`
  if (isErrorCode(code)) throw new AppError(code, message)
  throw new AppError("cli.no-server", `${url.origin}: ${message}`)
}
