import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instantInput, resourceName } from "../schemas.ts"

/** What one service may ask this one to send. */
export const sendingLimits = {
  dedupeKeyLengthMax: 300,
  titleLengthMax: 200,
  factsMax: 12,
  textLengthMax: 64 * 1024,
  htmlLengthMax: 256 * 1024,
  actionsMax: 8,
  urlLengthMax: 2_000,
  /** Deliveries that wait of one recipient; more are refused and asked for again later. */
  pendingMax: 100_000,
} as const

const line = z.string().max(sendingLimits.titleLengthMax)

export const outgoingMessage = z
  .strictObject({
    title: line.min(1).describe("A mail's subject, a chat message's first line"),
    severity: z.enum(["alert", "notice"]).default("notice"),
    facts: z
      .array(z.tuple([line, z.string().max(1000)]))
      .max(sendingLimits.factsMax)
      .default([]),
    link: z.string().max(sendingLimits.urlLengthMax).optional(),
    command: line.optional(),
    actions: z
      .array(z.strictObject({ label: line.min(1), url: z.string().max(sendingLimits.urlLengthMax) }))
      .max(sendingLimits.actionsMax)
      .default([])
      .describe("Links to pages on which something can be done"),
    text: z.string().max(sendingLimits.textLengthMax).optional().describe("A mail's text instead of one made of facts"),
    html: z.string().max(sendingLimits.htmlLengthMax).optional().describe("A mail's HTML, likewise"),
    confidential: z
      .boolean()
      .default(false)
      .describe("True where only the recipient may read it, such as a link that answers for somebody"),
  })
  .describe("A message in no format yet: each kind of channel writes it its own way")

export const deliveriesSend = defineOperation({
  name: "deliveries.send",
  service: "notifications",
  summary: "Send a message of a service to a channel or an address, once for each dedupe key",
  description: "For services. A webhook channel gets the event; mail and chat get the message.",
  method: "POST",
  path: "/v1/deliveries",
  effect: "change",
  permission: "notifications.deliver",
  gateable: false,
  input: z.strictObject({
    to: z.union([z.strictObject({ channel: resourceName }), z.strictObject({ mail: z.email().max(254) })]),
    dedupeKey: z.string().min(8).max(sendingLimits.dedupeKeyLengthMax),
    event: z.strictObject({
      id: z.string().max(64),
      type: z.string().max(128),
      subject: z.string().max(128),
      subjectVersion: z.int(),
      time: instantInput,
      data: z.record(z.string(), z.unknown()).default({}),
    }),
    message: outgoingMessage,
  }),
  output: z.object({ delivery: z.string(), isNew: z.boolean().describe("False where the dedupe key was used before") }),
  errors: ["notifications.channel-not-found", "notifications.too-many"],
})
