import { AppError } from "@signalbox/kernel/app-error"
import { X509Certificate } from "node:crypto"
import { createTransport, readText, transportFailure } from "./transport.ts"

/** A fingerprint in any usual writing (colons, `sha256:`, upper case) as 64 hexadecimal characters; else undefined. */
export function normalizeFingerprint(text: string): string | undefined {
  const hex = text
    .replace(/^sha-?256[:=]/i, "")
    .replaceAll(/[:\s]/g, "")
    .toLowerCase()
  return /^[0-9a-f]{64}$/.test(hex) ? hex : undefined
}

/** SHA-256 over a certificate. @throws cli.certificate-untrusted where the text is no certificate */
export function fingerprintOf(caPem: string): string {
  try {
    return new X509Certificate(caPem).fingerprint256.replaceAll(":", "").toLowerCase()
  } catch (cause) {
    throw new AppError("cli.certificate-untrusted", "what the server gives as its CA is no certificate", { cause })
  }
}

/**
 * Reads the CA that a server says is its own, over a connection that nothing vouches for: only a comparison of its
 * fingerprint with one that came another way makes it worth anything. No key is sent.
 *
 * @throws cli.no-server, cli.certificate-untrusted
 */
export async function fetchAuthority(serverUrl: string): Promise<{ caPem: string; fingerprint: string }> {
  const url = new URL(serverUrl)
  const transport = createTransport(url, { isUnverified: true })
  try {
    const path = `${url.pathname.replace(/\/$/, "")}/v1/ca.pem`
    const response = await transport.send({ path, method: "GET", headers: {} })
    const caPem = await readText(response)
    if (response.statusCode !== 200) {
      throw new AppError("cli.certificate-untrusted", `${url.origin} has no CA of its own to give`)
    }
    return { caPem, fingerprint: fingerprintOf(caPem) }
  } catch (error) {
    if (error instanceof AppError) throw error
    throw transportFailure(error, url).error
  } finally {
    transport.close()
  }
}
