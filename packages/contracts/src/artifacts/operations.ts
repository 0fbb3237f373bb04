import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instant, pageInput, pageOf, resourceName } from "../schemas.ts"

export const artifactLimits = {
  bytesMax: 4 * 1024 ** 3,
  /** Of one part, before base64: a part in its JSON body stays under the limit of bodies. */
  partBytesMax: 640 * 1024,
  /** Of one account, unfinished ones included. */
  artifactsMax: 1000,
  /** An upload that nobody went on with for so long is removed. */
  unfinishedKeptDays: 7,
} as const

const digest = z
  .string()
  .regex(/^[0-9a-f]{64}$/, "write 64 hexadecimal digits")
  .describe("SHA-256 of the content, 64 hexadecimal digits")

const artifactId = z.string().max(64).describe("The artifact's id, art_…")

export const artifact = z
  .object({
    id: z.string(),
    name: resourceName,
    digest,
    bytes: z.int(),
    state: z.enum(["uploading", "ready"]),
    received: z.int().describe("Bytes that are here: where an interrupted upload goes on"),
    createdAt: instant,
    createdBy: z.string(),
    finishedAt: instant.optional(),
  })
  .describe("A file that steps put on nodes. The newest of a name is what the name means")

export const artifactsBegin = defineOperation({
  name: "artifacts.begin",
  service: "artifacts",
  summary: "Begin or go on with the upload of an artifact",
  description:
    "Says what will come. The same name and digest again give the upload that is under way, or the artifact itself.",
  method: "POST",
  path: "/v1/artifacts",
  effect: "change",
  permission: "artifacts.write",
  input: z.strictObject({ name: resourceName, digest, bytes: z.int().min(0).max(artifactLimits.bytesMax) }),
  output: artifact,
  errors: ["artifacts.too-many"],
})

export const artifactsWrite = defineOperation({
  name: "artifacts.write",
  service: "artifacts",
  summary: "Send the next part of an artifact",
  method: "POST",
  path: "/v1/artifacts/{artifact}:write",
  effect: "change",
  permission: "artifacts.write",
  input: z.strictObject({
    artifact: artifactId,
    offset: z.int().min(0).max(artifactLimits.bytesMax).describe("Where the part begins: the bytes received so far"),
    content: z
      .base64()
      .max(Math.ceil(artifactLimits.partBytesMax / 3) * 4)
      .describe(`The part in base64, at most ${artifactLimits.partBytesMax} bytes`),
  }),
  output: artifact,
  errors: ["artifacts.not-found", "artifacts.wrong-offset", "storage.blob-quota", "storage.disk-full"],
})

export const artifactsFinish = defineOperation({
  name: "artifacts.finish",
  service: "artifacts",
  summary: "Check the digest of an uploaded artifact and make it ready",
  method: "POST",
  path: "/v1/artifacts/{artifact}:finish",
  effect: "change",
  permission: "artifacts.write",
  input: z.strictObject({ artifact: artifactId }),
  output: artifact,
  errors: ["artifacts.not-found", "artifacts.incomplete", "artifacts.digest-mismatch", "storage.blob-quota"],
})

export const artifactsList = defineOperation({
  name: "artifacts.list",
  service: "artifacts",
  summary: "List artifacts, the newest first",
  method: "GET",
  path: "/v1/artifacts",
  effect: "read",
  permission: "artifacts.read",
  input: z.strictObject({ name: resourceName.optional(), ...pageInput }),
  output: pageOf(artifact),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["id", "name", "state", "bytes", "received", "digest", "createdAt"] },
})

export const artifactsGet = defineOperation({
  name: "artifacts.get",
  service: "artifacts",
  summary: "Show an artifact",
  method: "GET",
  path: "/v1/artifacts/{artifact}",
  effect: "read",
  permission: "artifacts.read",
  input: z.strictObject({ artifact: artifactId }),
  output: artifact,
  errors: ["artifacts.not-found"],
})

export const artifactsRemove = defineOperation({
  name: "artifacts.remove",
  service: "artifacts",
  summary: "Remove an artifact",
  description: "Runs that still need it fail on the nodes that haven't fetched it.",
  method: "DELETE",
  path: "/v1/artifacts/{artifact}",
  effect: "change",
  permission: "artifacts.write",
  input: z.strictObject({ artifact: artifactId }),
  output: z.object({ id: z.string() }),
  errors: ["artifacts.not-found"],
})

export const artifactsDownload = defineOperation({
  name: "artifacts.download",
  service: "artifacts",
  summary: "Read the content of an artifact",
  description:
    "By its digest, which who fetches it checks. A Range header of one range gives that part, so that a download " +
    "goes on where it broke off.",
  method: "GET",
  path: "/v1/artifact-contents/{digest}",
  effect: "read",
  permission: "artifacts.download",
  input: z.strictObject({ digest }),
  output: z.string().describe("The bytes"),
  rawOutput: "application/octet-stream",
  errors: ["artifacts.not-found", "storage.blob-not-found", "storage.blob-unavailable"],
})

/** Where agents fetch an artifact's content. */
export function artifactContentPath(digestText: string): string {
  return `/v1/artifact-contents/${digestText}`
}

export const artifactsOperations = [
  artifactsBegin,
  artifactsWrite,
  artifactsFinish,
  artifactsList,
  artifactsGet,
  artifactsRemove,
  artifactsDownload,
] as const
