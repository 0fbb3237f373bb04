import { readLockedPackages, type LockedPackage } from "../lockfile.ts"
import { findMissingPlatforms, type LockEntries } from "../lockfile-platforms.ts"
import type { Repository } from "../repository.ts"
import type { Gate } from "./gate.ts"
import { installScriptsNotNeeded, isLicenceAllowed } from "./dependency-policy.ts"

export function findLicenceProblems(packages: readonly LockedPackage[]): string[] {
  return packages
    .filter((each) => each.production && !isLicenceAllowed(each.licence))
    .map((each) => `${each.name}@${each.version}: licence ${each.licence} is not on the list`)
}

export function findInstallScriptProblems(
  packages: readonly LockedPackage[],
  allowScripts: Readonly<Record<string, unknown>>,
): string[] {
  const withScript = packages.filter((each) => each.hasInstallScript).map((each) => each.name)
  return [
    ...withScript
      .filter((name) => !(name in installScriptsNotNeeded))
      .map((name) => `${name}: has an install script and no reason in dependency-policy.ts`),
    ...Object.keys(installScriptsNotNeeded)
      .filter((name) => !withScript.includes(name))
      .map((name) => `${name}: has no install script (any more); take it out of dependency-policy.ts`),
    ...withScript
      .filter((name) => name in installScriptsNotNeeded && allowScripts[name] !== false)
      .map((name) => `package.json: allowScripts doesn't say false for ${name}`),
    ...Object.keys(allowScripts)
      .filter((name) => allowScripts[name] !== false)
      .map((name) => `package.json: allowScripts lets ${name} run its script, but none may be needed`),
  ]
}

/** Dependencies that a manifest names and the lockfile lacks: npm passes over an optional one that doesn't exist. */
export async function findUnlockedDependencies(repository: Repository): Promise<string[]> {
  const locked = new Set((await readLockedPackages(repository)).map((each) => `${each.name}@${each.version}`))
  const problems: string[] = []
  for (const path of repository.files.filter((file) => /^(?:packages\/[^/]+\/)?package\.json$/.test(file))) {
    const manifest = JSON.parse(await repository.read(path)) as Manifest
    const { dependencies, devDependencies, optionalDependencies } = manifest
    for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies })) {
      const ours = name === "signalbox" || name.startsWith("@signalbox/")
      if (!ours && !locked.has(`${name}@${version}`))
        problems.push(`${path}: ${name}@${version} is not in the lockfile`)
    }
  }
  return problems
}

async function findPlatformProblems(repository: Repository): Promise<string[]> {
  const { packages } = JSON.parse(await repository.read("package-lock.json")) as { packages: LockEntries }
  return findMissingPlatforms(packages).map(
    ({ path }) => `package-lock.json: ${path} is missing; run \`npm run complete-lockfile\``,
  )
}

interface Manifest {
  readonly allowScripts?: Readonly<Record<string, unknown>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

export const licencesGate: Gate = {
  name: "licences",
  async run(repository) {
    const packages = await readLockedPackages(repository)
    const shipped = packages.filter((each) => each.production)
    return { problems: findLicenceProblems(packages), note: `${shipped.length} packages that ship` }
  },
}

export const lockfileGate: Gate = {
  name: "lockfile",
  async run(repository) {
    const packages = await readLockedPackages(repository)
    const { allowScripts = {} } = JSON.parse(await repository.read("package.json")) as Manifest
    const problems = [
      ...findInstallScriptProblems(packages, allowScripts),
      ...(await findUnlockedDependencies(repository)),
      ...(await findPlatformProblems(repository)),
    ]
    return { problems, note: `${packages.length} packages, none needs its script` }
  },
}
