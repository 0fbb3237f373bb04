import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instant } from "../schemas.ts"

export const masterKey = z
  .object({
    fingerprint: z.string().describe("Tells master keys apart; says nothing of the key"),
    generation: z.int().describe("Of the keys under which values are sealed now; each rotation begins one"),
    rotatedAt: instant.optional().describe("When the last rotation ended"),
    rotation: z
      .object({
        stage: z
          .enum(["adopting", "rewrapping"])
          .describe("Until every server has the next key; until nothing lies under an older generation"),
        fingerprint: z.string().describe("Of the next master key"),
        generation: z.int(),
        startedAt: instant,
        startedBy: z.string(),
        rewrapped: z.int().describe("Values wrapped anew so far"),
        waitsFor: z.array(z.string()).describe("Servers that have not taken up the next master key"),
      })
      .optional()
      .describe("Under way"),
  })
  .describe("What is known of the installation's master key, which itself is never in the database")

export const masterKeyGet = defineOperation({
  name: "master-key.get",
  service: "secrets",
  summary: "Show the master key's fingerprint and its rotation",
  method: "GET",
  path: "/v1/master-key",
  effect: "read",
  permission: "secrets.rotate",
  input: z.strictObject({}),
  output: masterKey,
  errors: [],
})

export const masterKeyRotate = defineOperation({
  name: "master-key.rotate",
  service: "secrets",
  summary: "Change the master key while the servers go on working",
  description:
    "Takes the next master key from the file beside the present one (NAME.next), or makes it there where the key is in " +
    "the data directory. Everything that is stored is wrapped anew in the background; until that is done both keys open " +
    "the installation. master-key.get shows how far it is.",
  method: "POST",
  path: "/v1/master-key:rotate",
  effect: "change",
  permission: "secrets.rotate",
  input: z.strictObject({}),
  output: masterKey,
  errors: [
    "secrets.rotation-under-way",
    "secrets.next-key-missing",
    "secrets.next-key-unusable",
    "secrets.master-key-wrong",
  ],
})

export const masterKeyOperations = [masterKeyGet, masterKeyRotate] as const
