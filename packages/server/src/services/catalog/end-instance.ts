/** Ends an instance, by a call or because its time is over. */
import { assert } from "@signalbox/kernel/assert"
import type { EventStory } from "../../router/handler.ts"
import { changeInstance, type ChangeSink } from "./instance-change.ts"
import type { InstanceRow } from "./instance-store.ts"
import { findProduct, findProductVersion } from "./product-store.ts"

/** @throws catalog.instance-ended, catalog.instance-busy */
export async function endInstance(
  sink: ChangeSink,
  row: InstanceRow,
  of: { readonly reason?: string | undefined; readonly story: Omit<EventStory, "account">; readonly isOwnStory?: true },
): ReturnType<typeof changeInstance> {
  const { providerAccount, product: name, productVersion: version, parameters } = row
  // The product's present provisioner ends it; versions never go, so there is one whatever became of the product.
  const made =
    (await findProduct(sink.tx, providerAccount, name)) ??
    (await findProductVersion(sink.tx, providerAccount, { name, version }))
  assert(made, "an instance's version is kept")
  return changeInstance(sink, row, {
    event: "end",
    patch: { reason: of.reason ?? null },
    order: {
      kind: "end",
      provisioner: made.definition.provisionerId,
      productVersion: version,
      parameters,
      story: of.story,
    },
    ...(of.isOwnStory ? { story: { account: row.account, ...of.story } } : {}),
  })
}
