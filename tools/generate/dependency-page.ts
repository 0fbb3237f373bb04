import { bundledWorks, installScriptsNotNeeded, licencesAllowed } from "../gates/dependency-policy.ts"
import { readLockedPackages } from "../lockfile.ts"
import type { Repository } from "../repository.ts"
import { markdownTable, page } from "./generated-page.ts"

interface Manifest {
  readonly name: string
  readonly private?: boolean
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

/** `docs/dependencies.md`: what ships with Signalbox, under which licence, and which of our packages asked for it. */
export async function makeDependencyPage(repository: Repository): Promise<string> {
  const packages = (await readLockedPackages(repository)).filter((each) => each.production)
  const askedBy = await readDirectDependencies(repository)
  const row = ({ name, version, licence }: (typeof packages)[number], users: readonly string[]) => [
    name,
    version,
    licence,
    users.join(", "),
  ]
  const direct = packages.filter((each) => askedBy.has(each.name))
  const rest = packages.filter((each) => !askedBy.has(each.name))
  return page(
    "Dependencies",
    `${packages.length} packages of others ship with Signalbox (optional ones of every platform included). Allowed ` +
      `licences: ${[...licencesAllowed].join(", ")}.`,
    "## Asked for by our packages",
    markdownTable(
      ["Package", "Version", "Licence", "Used by"],
      direct.map((each) => row(each, askedBy.get(each.name) ?? [])),
    ),
    "## Brought in by those",
    markdownTable(
      ["Package", "Version", "Licence"],
      rest.map((each) => row(each, []).slice(0, 3)),
    ),
    "## Binaries",
    markdownTable(["Package", "Contains"], Object.entries(bundledWorks)),
    "## Install scripts",
    "None is run: `allowScripts` of package.json denies them. These packages have one:",
    markdownTable(["Package", "Why it isn't missed"], Object.entries(installScriptsNotNeeded)),
  )
}

/** Package of others -> our shipped packages that declare it. */
async function readDirectDependencies(repository: Repository): Promise<Map<string, string[]>> {
  const askedBy = new Map<string, string[]>()
  for (const path of repository.files.filter((file) => /^packages\/[^/]+\/package\.json$/.test(file))) {
    const manifest = JSON.parse(await repository.read(path)) as Manifest
    if (manifest.private) continue
    const user = manifest.name.replace("@signalbox/", "")
    for (const name of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })) {
      if (!name.startsWith("@signalbox/")) askedBy.set(name, [...(askedBy.get(name) ?? []), user])
    }
  }
  return askedBy
}
