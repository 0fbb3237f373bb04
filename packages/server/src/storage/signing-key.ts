/**
 * The key that this installation signs with (Ed25519): heads of the audit chain, approvals. The private half is a file
 * beside the master key, made at the first start; public halves are on record in `signing_keys` for ever.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from "node:crypto"
import { readFile, stat } from "node:fs/promises"
import { join } from "node:path"
import { keyIdOf, type Signer } from "@signalbox/attestation/signed-envelope"
import { AppError } from "@signalbox/kernel/app-error"
import type { Sql } from "./database.ts"
import { writeNewFile } from "./write-new-file.ts"

export const signingKeyFile = "signing.key"

export interface SigningKey extends Signer {
  /** SPKI in PEM. */
  readonly publicKey: string
}

/** A key that nobody else has; it goes with the process unless somebody keeps it. */
export function newSigningKey(): SigningKey {
  return signingKeyOf(generateKeyPairSync("ed25519").privateKey)
}

/**
 * The key in a data directory, or in a file that somebody else provides; only the first is made where there is none.
 *
 * @throws settings.invalid where the file is no such key or others may read it
 */
export async function openSigningKey(options: {
  readonly dataDirectory: string
  readonly file?: string | undefined
}): Promise<SigningKey> {
  const path = options.file ?? join(options.dataDirectory, signingKeyFile)
  const existing = await readKey(path, options.file === undefined)
  if (existing) return existing
  const { privateKey } = generateKeyPairSync("ed25519")
  await writeNewFile(path, privateKey.export({ type: "pkcs8", format: "pem" }).toString()).catch((error: unknown) => {
    // Another server of the same directory was first: its key is the one.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
  })
  const made = await readKey(path, false)
  if (!made) throw new AppError("settings.invalid", `the signing key ${path} vanished`)
  return made
}

async function readKey(path: string, mayBeMissing: boolean): Promise<SigningKey | undefined> {
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT" && mayBeMissing) return undefined
    const message = `the signing key ${path} can't be read (${cause.code ?? cause.message})`
    throw new AppError("settings.invalid", message, { cause })
  })
  if (text === undefined) return undefined
  if (((await stat(path)).mode & 0o007) !== 0)
    throw new AppError("settings.invalid", `everybody on this machine can open the signing key ${path}: chmod 600`)
  const key = parseKey(text)
  if (key?.asymmetricKeyType !== "ed25519")
    throw new AppError("settings.invalid", `${path} is no signing key: an Ed25519 private key in PEM (PKCS#8)`)
  return signingKeyOf(key)
}

function parseKey(text: string): KeyObject | undefined {
  try {
    return createPrivateKey(text)
  } catch {
    return undefined
  }
}

function signingKeyOf(privateKey: KeyObject): SigningKey {
  const publicKey = createPublicKey(privateKey)
  return {
    keyId: keyIdOf(publicKey),
    publicKey: publicKey.export({ type: "spki", format: "pem" }).toString(),
    sign: (bytes) => sign(null, bytes, privateKey),
  }
}

export interface PublicKeyRow {
  readonly keyId: string
  readonly publicKey: string
  readonly createdAt: number
}

/** Puts the public half on record, so that what it signed can be checked after it was replaced. */
export async function recordSigningKey(sql: Sql, { keyId, publicKey }: SigningKey): Promise<void> {
  await sql.query("insert into signing_keys (key_id, public_key) values ($1, $2) on conflict do nothing", [
    keyId,
    publicKey,
  ])
}

/** Far more than any installation has. */
const keysMax = 1000

/** The oldest first. */
export function listSigningKeys(sql: Sql): Promise<PublicKeyRow[]> {
  return sql.query<PublicKeyRow>(
    `select key_id as "keyId", public_key as "publicKey", created_at as "createdAt" from signing_keys
     order by created_at, key_id limit $1`,
    [keysMax],
  )
}
