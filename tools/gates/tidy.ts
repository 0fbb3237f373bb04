import type { Repository } from "../repository.ts"
import type { Gate } from "./gate.ts"

/** A part of a path that says nothing about what is inside. */
const emptyNames = /(?:^|\/)(?:utils?|helpers?|common|misc)(?:\/|\.[a-z]+$)/

interface Ban {
  readonly what: string
  readonly pattern: RegExp
  readonly files?: RegExp
}

/** Written so that no pattern matches its own text. */
const bans: readonly Ban[] = [
  { what: "a note to self; open an issue or do it", pattern: /\b(?:TO[D]O|FIX[M]E|X[X]X|HAC[K])\b/ },
  { what: "a path of one machine", pattern: /(?:^|[\s"'`(=:,]|file:\/\/)\/(?:work|root|Users\/\w+|home\/\w+)\// },
  { what: "a test that is left out or singled out", pattern: /\.(?:only|skip|todo)\(/, files: /\.test\.ts$/ },
  {
    what: "a check that is switched off",
    pattern: /(?:eslint|oxlint)-(?:disable)|@ts-(?:ignore|nocheck)|(?:oxfmt|prettier)-(?:ignore)|istanbul (?:ignore)/,
    files: /\.[cm]?[jt]sx?$/,
  },
]

const binaryFile = /\.(?:png|jpg|gif|webp|ico|woff2?|deb|gz|cast)$|(?:^|\/)package-lock\.json$/

export async function findTidyProblems(repository: Repository): Promise<string[]> {
  const problems: string[] = []
  for (const path of repository.files) {
    if (emptyNames.test(path)) problems.push(`${path}: name it after what is inside`)
    if (binaryFile.test(path)) continue
    const lines = (await repository.read(path)).split("\n")
    for (const { what, pattern, files } of bans) {
      if (files && !files.test(path)) continue
      const index = lines.findIndex((line) => pattern.test(line))
      if (index >= 0) problems.push(`${path}:${index + 1}: ${what}`)
    }
  }
  return problems
}

export const tidyGate: Gate = {
  name: "tidy",
  async run(repository) {
    return { problems: await findTidyProblems(repository), note: `${repository.files.length} files` }
  },
}
