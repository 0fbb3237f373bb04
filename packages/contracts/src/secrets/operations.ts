import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instant, pageInput, pageOf, resourceName } from "../schemas.ts"

export const secretLimits = {
  /** A shorter value would stand in outputs by chance, so that masking it would say more than it hides. */
  valueCharactersMin: 6,
  valueCharactersMax: 32 * 1024,
  /** Of what a reference gives. */
  valueBytesMax: 64 * 1024,
  referenceCharactersMax: 1024,
  secretsMax: 1000,
  /** Older versions are removed when a new one is put. */
  versionsKept: 5,
} as const

export const referenceKinds = ["env", "file", "exec"] as const
export type ReferenceKind = (typeof referenceKinds)[number]

export const secret = z
  .object({
    name: resourceName,
    version: z.int().describe("Grows with each value and each removal; plans record it, never the value"),
    kind: z.enum(["value", ...referenceKinds]).describe("Stored here, or where it is read each time"),
    reference: z.string().optional().describe("Of a reference: what it names"),
    createdAt: instant,
    createdBy: z.string().describe("Who put this version"),
    usedAt: instant.optional().describe("When a run last read it, to within a minute"),
  })
  .describe("A secret, without its value: nothing ever shows that")

export const secretsPut = defineOperation({
  name: "secrets.put",
  service: "secrets",
  summary: "Store a secret, or a new version of one",
  description:
    "Give a value, which is encrypted and never shown again, or a reference that the server reads at each use: " +
    "env:NAME, file:/path or exec:/program arguments. References need the permission secrets.refer and the server's " +
    "setting secret-references.",
  method: "PUT",
  path: "/v1/secrets/{name}",
  effect: "change",
  permission: "secrets.write",
  input: z.strictObject({
    name: resourceName,
    value: z
      .string()
      .min(secretLimits.valueCharactersMin, `a secret has at least ${secretLimits.valueCharactersMin} characters`)
      .max(secretLimits.valueCharactersMax, `a secret has at most ${secretLimits.valueCharactersMax} characters`)
      .optional()
      .describe("The value"),
    reference: z
      .string()
      .max(secretLimits.referenceCharactersMax)
      .regex(
        /^(?:env:[A-Za-z_][A-Za-z0-9_]*|file:\/.+|exec:\/.+)$/,
        "write env:NAME, file:/path or exec:/program arguments",
      )
      .optional()
      .describe("Where the server reads the value at each use: env:NAME, file:/path or exec:/program arguments"),
  }),
  output: secret,
  secretInput: ["value"],
  errors: ["secrets.too-many", "secrets.reference-refused"],
})

export const secretsList = defineOperation({
  name: "secrets.list",
  service: "secrets",
  summary: "List secrets, without their values",
  method: "GET",
  path: "/v1/secrets",
  effect: "read",
  permission: "secrets.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(secret),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "version", "kind", "createdAt", "createdBy", "usedAt"] },
})

export const secretsGet = defineOperation({
  name: "secrets.get",
  service: "secrets",
  summary: "Show a secret, without its value",
  method: "GET",
  path: "/v1/secrets/{name}",
  effect: "read",
  permission: "secrets.read",
  input: z.strictObject({ name: resourceName }),
  output: secret,
  errors: ["secrets.not-found"],
})

export const secretsRemove = defineOperation({
  name: "secrets.remove",
  service: "secrets",
  summary: "Remove a secret and all its versions",
  method: "DELETE",
  path: "/v1/secrets/{name}",
  effect: "change",
  permission: "secrets.write",
  input: z.strictObject({ name: resourceName }),
  output: z.object({ name: resourceName }),
  errors: ["secrets.not-found"],
})

export const secretsOperations = [secretsPut, secretsList, secretsGet, secretsRemove] as const
