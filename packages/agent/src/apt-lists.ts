import type { Inventory } from "@signalbox/contracts/fleet/inventory"

/** Lines of `dpkg-query -W` in the format name, version, architecture, status, with tabs between. */
export function parseInstalled(text: string): Inventory["packages"] {
  return text.split("\n").flatMap((line) => {
    const [name, version, architecture, status] = line.split("\t")
    if (!name || !version || !architecture || status !== "installed") return []
    return [{ name: name.slice(0, 128), version: version.slice(0, 128), architecture: architecture.slice(0, 32) }]
  })
}

/** `Inst NAME [OLD] (NEW ORIGIN, ORIGIN [ARCH])`, where OLD is absent for a package that comes in addition. */
const installLine = /^Inst (\S+) (?:\[([^\]]+)\] )?\((\S+) (.*?)\s*\[([^\]]+)\]\)/

/**
 * What `apt-get -s upgrade` would install. An origin reads `Label:version/suite`; a security fix comes from one whose
 * label or suite says so (Debian-Security:12/stable-security, Ubuntu:22.04/jammy-security).
 */
export function parsePending(text: string): Inventory["pending"] {
  return text.split("\n").flatMap((line) => {
    const match = installLine.exec(line)
    if (!match) return []
    const [, name = "", fromVersion, toVersion = "", origin = "", architecture = ""] = match
    return [
      {
        name: name.replace(/:[a-z0-9]+$/, "").slice(0, 128),
        ...(fromVersion !== undefined && { fromVersion: fromVersion.slice(0, 128) }),
        toVersion: toVersion.slice(0, 128),
        architecture: architecture.slice(0, 32),
        ...(origin !== "" && { origin: origin.slice(0, 256) }),
        security: /security/i.test(origin),
      },
    ]
  })
}
