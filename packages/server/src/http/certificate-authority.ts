/**
 * The installation's own certificate authority (X8). Owns the directory it is given: `authority.pem` (the CA's
 * certificate and key), `server.pem` (the server's certificate and key), `ca.pem` (the CA's certificate for people and
 * tools). Each file is complete or absent, since a key and its certificate stand in one file that is linked or renamed
 * into place: of two servers that start at once the first CA wins, for both.
 */
import { randomBytes, webcrypto, X509Certificate } from "node:crypto"
import { chmod, link, mkdir, open, readFile, rename, rm } from "node:fs/promises"
import { isIP } from "node:net"
import { hostname, networkInterfaces } from "node:os"
import { join } from "node:path"
import { AppError } from "@signalbox/kernel/app-error"
import type { Clock } from "@signalbox/kernel/clock"
import type * as X509 from "@peculiar/x509"

export const certificateLimits = {
  authorityDays: 20 * 365,
  serverDays: 825,
  /** A server certificate that ends sooner is replaced at the next start. */
  renewDays: 90,
  /** Certificates begin earlier than now, for machines whose clocks are behind. */
  backdateDays: 1,
  namesMax: 200,
} as const

export interface ServerTls {
  /** The CA's certificate. */
  readonly caPem: string
  /** SHA-256 of the CA's certificate (DER), in hex: what agents and people pin. */
  readonly caFingerprint: string
  /** The server's certificate and the CA's, so that a client can find the pinned CA in the handshake. */
  readonly certPem: string
  readonly keyPem: string
}

export interface ServerTlsOptions {
  readonly directory: string
  /** Host names and addresses beside this machine's own. */
  readonly names: readonly string[]
  readonly clock: Clock
}

interface KeyedCertificate {
  readonly certificatePem: string
  readonly certificate: X509Certificate
  readonly keyPem: string
}

const dayMilliseconds = 86_400_000
const keyAlgorithm = { name: "ECDSA", namedCurve: "P-256" } as const
const signing = { name: "ECDSA", hash: "SHA-256" } as const

/**
 * The server's certificate and key, made by the own CA where there is none, where it ends soon or lacks a name; the CA
 * stays for ever. @throws settings.invalid where the directory holds something else or can't be written
 */
export async function ensureServerTls(options: ServerTlsOptions): Promise<ServerTls> {
  const { directory, clock } = options
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    const authority = (await findKeyed(join(directory, "authority.pem"))) ?? (await makeAuthority(directory, clock))
    const names = ownNames(options.names)
    const existing = await findKeyed(join(directory, "server.pem"))
    const server =
      existing && isGood(existing, { authority, names, now: clock.now() })
        ? existing
        : await makeServer(directory, { authority, names, now: clock.now() })
    await writePublic(join(directory, "ca.pem"), authority.certificatePem)
    return {
      caPem: authority.certificatePem,
      caFingerprint: authority.certificate.fingerprint256.replaceAll(":", "").toLowerCase(),
      certPem: server.certificatePem + authority.certificatePem,
      keyPem: server.keyPem,
    }
  } catch (cause) {
    if (cause instanceof AppError) throw cause
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new AppError("settings.invalid", `the certificates in ${directory} can't be used: ${reason}`, { cause })
  }
}

/** Every name under which a client on this or another machine may come to this server. */
function ownNames(given: readonly string[]): string[] {
  const addresses = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter((entry) => !entry.address.toLowerCase().startsWith("fe80:"))
    .map((entry) => entry.address)
  const all = ["localhost", "127.0.0.1", "::1", hostname(), ...given, ...addresses].map((name) => name.toLowerCase())
  return [...new Set(all)].filter((name) => isIP(name) > 0 || isDnsName(name)).slice(0, certificateLimits.namesMax)
}

const isDnsName = (name: string) => name.length <= 253 && /^(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?$/.test(name)

function isGood(
  server: KeyedCertificate,
  wanted: { authority: KeyedCertificate; names: readonly string[]; now: number },
): boolean {
  const { certificate } = server
  const renewAt = Date.parse(certificate.validTo) - certificateLimits.renewDays * dayMilliseconds
  return (
    wanted.now < renewAt &&
    wanted.now >= Date.parse(certificate.validFrom) &&
    certificate.verify(wanted.authority.certificate.publicKey) &&
    wanted.names.every((name) => covers(certificate, name))
  )
}

function covers(certificate: X509Certificate, name: string): boolean {
  if (isIP(name) > 0) return certificate.checkIP(name) !== undefined
  if (name.startsWith("*.")) return certificate.subjectAltName?.split(", ").includes(`DNS:${name}`) === true
  return certificate.checkHost(name, { wildcards: false }) !== undefined
}

/** Loaded only where something has to be made: a start with good certificates doesn't pay for it. */
async function loadX509(): Promise<typeof X509> {
  await import("reflect-metadata")
  const x509 = await import("@peculiar/x509")
  x509.cryptoProvider.set(webcrypto)
  return x509
}

async function makeAuthority(directory: string, clock: Clock): Promise<KeyedCertificate> {
  const x509 = await loadX509()
  const keys = await makeKeys()
  const now = clock.now()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=Signalbox CA ${randomBytes(4).toString("hex")}`,
    keys,
    serialNumber: serialNumber(),
    ...validity(now, certificateLimits.authorityDays),
    signingAlgorithm: signing,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  const path = join(directory, "authority.pem")
  await writeOnce(path, certificate.toString("pem") + "\n" + (await exportKey(keys.privateKey)))
  const winner = await findKeyed(path)
  if (!winner) throw new Error(`${path} vanished while it was being made`)
  return winner
}

async function makeServer(
  directory: string,
  wanted: { authority: KeyedCertificate; names: readonly string[]; now: number },
): Promise<KeyedCertificate> {
  const x509 = await loadX509()
  const keys = await makeKeys()
  const authority = new x509.X509Certificate(wanted.authority.certificatePem)
  const certificate = await x509.X509CertificateGenerator.create({
    subject: "CN=Signalbox server",
    issuer: authority.subject,
    publicKey: keys.publicKey,
    signingKey: await importKey(wanted.authority.keyPem),
    serialNumber: serialNumber(),
    ...validity(wanted.now, certificateLimits.serverDays),
    signingAlgorithm: signing,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        wanted.names.map((name) => ({ type: isIP(name) > 0 ? "ip" : "dns", value: name })),
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(authority),
    ],
  })
  const path = join(directory, "server.pem")
  await replace(path, { text: certificate.toString("pem") + "\n" + (await exportKey(keys.privateKey)), mode: 0o600 })
  const made = await findKeyed(path)
  if (!made) throw new Error(`${path} vanished while it was being made`)
  return made
}

function validity(now: number, days: number): { notBefore: Date; notAfter: Date } {
  const begin = now - certificateLimits.backdateDays * dayMilliseconds
  return { notBefore: new Date(begin), notAfter: new Date(begin + days * dayMilliseconds) }
}

/** 16 random bytes, positive. */
function serialNumber(): string {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40
  return bytes.toString("hex")
}

async function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(keyAlgorithm, true, ["sign", "verify"])
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const body = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key)).toString("base64")
  return `-----BEGIN PRIVATE KEY-----\n${(body.match(/.{1,64}/g) ?? []).join("\n")}\n-----END PRIVATE KEY-----\n`
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = Buffer.from(pem.replaceAll(/-----[A-Z ]+-----|\s/g, ""), "base64")
  return webcrypto.subtle.importKey("pkcs8", der, keyAlgorithm, false, ["sign"])
}

/** A certificate and its key; undefined where there is no such file. Also mends a mode that lets others read the key. */
async function findKeyed(path: string): Promise<KeyedCertificate | undefined> {
  let text: string
  try {
    text = await readFile(path, "utf8")
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined
    throw error
  }
  const certificatePem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/.exec(text)?.[0]
  const keyPem = /-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----\n/.exec(text)?.[0]
  if (certificatePem === undefined || keyPem === undefined)
    throw new Error(`${path} doesn't hold a certificate and its key`)
  await chmod(path, 0o600)
  return { certificatePem, certificate: new X509Certificate(certificatePem), keyPem }
}

/** Puts a file in place unless there is one already. */
async function writeOnce(path: string, text: string): Promise<void> {
  const temporary = await writeTemporary(path, { text, mode: 0o600 })
  try {
    await link(temporary, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
  } finally {
    await rm(temporary, { force: true })
  }
}

async function replace(path: string, file: { text: string; mode: number }): Promise<void> {
  const temporary = await writeTemporary(path, file)
  try {
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

async function writePublic(path: string, text: string): Promise<void> {
  const present = await readFile(path, "utf8").catch(() => undefined)
  if (present !== text) await replace(path, { text, mode: 0o644 })
}

async function writeTemporary(path: string, { text, mode }: { text: string; mode: number }): Promise<string> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.new`
  const file = await open(temporary, "wx", mode)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  return temporary
}
