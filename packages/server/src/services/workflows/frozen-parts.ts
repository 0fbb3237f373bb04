/** What a plan names and does not hold itself: which version of each secret, which bytes of each artifact (D24). */
import type { WorkflowDocument } from "@signalbox/contracts/workflows/document"
import { AppError } from "@signalbox/kernel/app-error"
import type { ArtifactFinder, SecretReader } from "../../router/ports.ts"
import { templateTexts } from "./document-texts.ts"
import { fixedFiller } from "./order-texts.ts"
import type { ParameterValues } from "../../parameters/parameter-values.ts"
import { parseTemplate } from "./template.ts"
import type { FrozenArtifact } from "./step-order.ts"

export interface FrozenParts {
  /** Versions, by name. */
  readonly secrets: Readonly<Record<string, number>>
  /** By the text in the document that names them. */
  readonly artifacts: Readonly<Record<string, FrozenArtifact>>
}

export interface PartsFinder {
  readonly secrets: SecretReader
  readonly artifacts: ArtifactFinder
}

/** @throws secrets.not-found, artifacts.not-found, workflows.invalid-template */
export async function freezeParts(
  finder: PartsFinder,
  account: string,
  run: {
    readonly document: WorkflowDocument
    readonly parameters: ParameterValues
    /** Secrets that are named outside of the document's steps. */
    readonly secretNames: readonly string[]
  },
): Promise<FrozenParts> {
  return {
    secrets: await findSecrets(finder.secrets, account, run),
    artifacts: await findArtifacts(finder.artifacts, account, run),
  }
}

async function findSecrets(
  secrets: SecretReader,
  account: string,
  { document, secretNames }: { readonly document: WorkflowDocument; readonly secretNames: readonly string[] },
): Promise<FrozenParts["secrets"]> {
  const names = new Set(secretNames)
  for (const { text } of templateTexts(document)) {
    for (const part of parseTemplate(text)) if (typeof part !== "string" && part.kind === "secret") names.add(part.name)
  }
  if (names.size === 0) return {}
  const versions = await secrets.versions(account, [...names])
  const missing = [...names].filter((name) => versions[name] === undefined)
  if (missing.length > 0)
    throw new AppError("secrets.not-found", `the run names secrets that don't exist: ${missing.join(", ")}`)
  return versions
}

async function findArtifacts(
  artifacts: ArtifactFinder,
  account: string,
  { document, parameters }: { readonly document: WorkflowDocument; readonly parameters: ParameterValues },
): Promise<FrozenParts["artifacts"]> {
  const found: Record<string, FrozenArtifact> = {}
  for (const { file } of document.steps) {
    const text = file?.artifact
    if (text === undefined || Object.hasOwn(found, text)) continue
    const name = fixedFiller(text)((reference) => {
      if (reference.kind === "parameter") return String(parameters[reference.name] ?? "")
      throw new AppError("workflows.invalid-template", "an artifact is the same for all nodes: name it by parameters")
    })
    const artifact = await artifacts.find(account, name)
    if (!artifact) throw new AppError("artifacts.not-found", `there is no artifact "${name}" that is ready`)
    found[text] = { digest: artifact.digest, bytes: artifact.bytes, path: artifact.path }
  }
  return found
}

/** The values that a plan's secrets had when it was made. */
export async function readFrozenSecrets(
  secrets: SecretReader,
  account: string,
  wanted: { readonly parts: FrozenParts; readonly names: readonly string[] },
): Promise<Record<string, string>> {
  if (wanted.names.length === 0) return {}
  const places = wanted.names.map((name) => ({ name, version: wanted.parts.secrets[name] ?? 0 }))
  const values = await secrets.readVersions(account, places)
  return Object.fromEntries(Object.entries(values).map(([name, { value }]) => [name, value]))
}
