import { z } from "zod"
import { chainLink, chainRecord, signedEnvelope } from "./chain-operations.ts"

/** The lines of an export of the audit chain (JSON Lines), in the order in which they come. */
export const exportLine = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("export"),
    format: z.literal(1),
    account: z.string(),
    start: chainLink.describe("The link before the first record"),
    from: z.string().optional(),
    to: z.string().optional(),
  }),
  z.strictObject({ kind: z.literal("checkpoint"), envelope: signedEnvelope, publicKey: z.string() }),
  z.strictObject({
    kind: z.literal("record"),
    ...chainLink.shape,
    recordId: z.string(),
    // Whatever a record holds is part of its hash, members of a later version too.
    record: z.looseObject(chainRecord.shape).optional(),
  }),
  z.strictObject({ kind: z.literal("unsealed"), id: z.string(), position: z.string() }),
  z.strictObject({ kind: z.literal("end"), ...chainLink.shape, isToHead: z.boolean() }),
])

export type ExportLine = z.output<typeof exportLine>
