import { z } from "zod"

export const inventoryPackagesMax = 20_000

/** What an agent found on its machine. Sent on connecting and when it changes. */
export const inventory = z.object({
  hostname: z.string().max(255),
  machineId: z.string().max(128),
  bootId: z.string().max(128).optional(),
  os: z.object({
    name: z.string().max(128).describe("PRETTY_NAME of /etc/os-release"),
    id: z.string().max(64),
    version: z.string().max(64).optional(),
    kernel: z.string().max(128),
    architecture: z.string().max(32),
  }),
  hardware: z.object({
    cpus: z.int(),
    memoryBytes: z.int(),
    diskBytes: z.int().optional(),
    diskFreeBytes: z.int().optional(),
  }),
  packageManager: z.enum(["apt", "none"]),
  packages: z
    .array(
      z.object({
        name: z.string().max(128),
        version: z.string().max(128),
        architecture: z.string().max(32),
        changedAt: z
          .int()
          .min(0)
          .optional()
          .describe("When it was unpacked: seconds since 1970 by the machine's clock; of the latest packages only"),
      }),
    )
    .max(inventoryPackagesMax),
  pending: z
    .array(
      z.object({
        name: z.string().max(128),
        fromVersion: z.string().max(128).optional(),
        toVersion: z.string().max(128),
        architecture: z.string().max(32),
        origin: z.string().max(256).optional(),
        security: z.boolean(),
      }),
    )
    .max(inventoryPackagesMax),
  policy: z
    .object({
      state: z.enum(["none", "in-force", "damaged"]).describe("damaged: this node refuses every order"),
      digest: z.string().max(80).optional().describe("Of its content, as `signalbox agent policy check` shows it"),
    })
    .optional()
    .describe("The agent's local policy"),
  problems: z.array(z.string().max(500)).max(20).describe("What could not be read, and why"),
})

export type Inventory = z.output<typeof inventory>
