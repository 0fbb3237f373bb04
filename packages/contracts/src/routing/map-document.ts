import { z } from "zod"
import { limits, resourceName } from "../schemas.ts"

/** The routing map as people write it: what differs from the map that the program itself brings. */

export const routingLimits = {
  destinationsMax: 32,
  routesMax: 1000,
  /** Sub-services that one operation may go to. */
  targetsMax: 8,
  caBytesMax: 16 * 1024,
  /** Versions of the map that are kept. */
  versionsMax: 200,
} as const

export const mergePolicies = ["all", "first", "best-effort"] as const

const target = z
  .string()
  .max(128)
  .regex(/^[a-z][a-z-]*(?:@[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?)?$/, "write a service, or service@destination")
  .describe("A sub-service (`approvals`), or one at a destination (`approvals@east`)")

const targets = z
  .array(target)
  .max(routingLimits.targetsMax)
  .describe("Where the operation goes; none: nowhere, so that nobody can call it")

const merge = z
  .enum(mergePolicies)
  .optional()
  .describe("How the replies of several become one: all, first, or best-effort")

const builtInName = "(?!ext\\.)[a-z]+(?:-[a-z]+)*\\.[a-z]+(?:-[a-z]+)*"
const outsideName = "ext\\.(?:\\*|[a-z][a-z0-9-]{0,38}\\.(?:\\*|[A-Za-z_][A-Za-z0-9._-]{0,63}))"
const operationName = z
  .string()
  .regex(new RegExp(`^(?:${outsideName}|${builtInName})$`), "write an operation's name, or ext.SERVICE.*, or ext.*")

const rules = resourceName
  .optional()
  .describe("Which rules service is asked about its calls: `none`, or a destination; left out, the built-in one")

export const routeFields = { services: targets.optional(), merge, rules }

const destination = z
  .strictObject({
    url: z
      .string()
      .max(500)
      .regex(/^https?:\/\/[^/?#@\s]+\/?$/, "write scheme, host and port: https://10.0.0.5:8443")
      .describe("Base URL of the server that is started with `--destination NAME`"),
    ca: z
      .string()
      .max(routingLimits.caBytesMax)
      .regex(/^-----BEGIN CERTIFICATE-----/, "write a certificate in PEM")
      .optional()
      .describe("The certificate authority that the destination's certificate must be of, in PEM; else the usual ones"),
    state: z
      .enum(["shared", "own"])
      .optional()
      .describe("`shared` (unless told): a server of this installation, on its database; `own`: another installation"),
    actsAs: resourceName
      .optional()
      .describe(
        "Of a rules service: the service account in whose name what it asks for is performed, by its name in the account " +
          "of the call; left out, it may only deny, hold and rewrite",
      ),
  })
  .describe("Another process that serves operations")

const bounded = (most: number) => (value: object) => Object.keys(value).length <= most

export const mapFields = {
  destinations: z
    .record(resourceName, destination)
    .refine(bounded(routingLimits.destinationsMax), `at most ${routingLimits.destinationsMax} destinations`)
    .default({}),
  services: z
    .record(z.string().max(64), resourceName)
    .default({})
    .describe("Sub-services that have moved as a whole: service to destination"),
  routes: z
    .record(operationName, z.strictObject(routeFields))
    .refine(bounded(routingLimits.routesMax), `at most ${routingLimits.routesMax} routes`)
    .default({})
    .describe(
      "Single operations; they go before `services`. Of services outside (`ext.SERVICE.OPERATION`, `ext.SERVICE.*`, `ext.*`) " +
        "a row has `rules` alone",
    ),
}

export const mapDocument = z.strictObject(mapFields).describe("What differs from the built-in map")

export type MapDocument = z.output<typeof mapDocument>

export const changeFields = {
  comment: z.string().max(limits.noteLengthMax).optional().describe("Why: kept with the version"),
  expectedVersion: z.coerce
    .number()
    .int()
    .min(0)
    .optional()
    .describe("Refused where the map has another version by then: somebody else was faster"),
}
