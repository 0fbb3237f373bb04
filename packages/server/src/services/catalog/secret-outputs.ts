/** Secret outputs of an instance: sealed together, so that nothing in the database shows them. */
import type { SealedPlace, SealedTexts, Sealer } from "../../router/ports.ts"
import type { InstanceRow } from "./instance-store.ts"

const outputsUse = "instance-outputs"

type Outputs = Readonly<Record<string, string>>

const placeOf = ({ account, id }: Pick<InstanceRow, "account" | "id">): SealedPlace => ({
  account,
  use: outputsUse,
  id,
})

/** For rotations of the master key. */
export const sealedOutputs: SealedTexts = {
  use: outputsUse,
  async list(sql, { after, limit, otherThan }) {
    const rows = await sql.query<{ id: string; account: string; text: string }>(
      `select id, account, secret_outputs as text from catalog_instances
       where secret_outputs is not null and not starts_with(secret_outputs, $1) and id > $2 order by id limit $3`,
      [otherThan, after, limit],
    )
    return rows.map(({ id, account, text }) => ({ key: id, place: { account, id }, text }))
  },
  async replace(sql, { key, text: before }, text) {
    await sql.query("update catalog_instances set secret_outputs = $3 where id = $1 and secret_outputs = $2", [
      key,
      before,
      text,
    ])
  },
}

/** @throws secrets.unreadable */
export function unsealOutputs(sealer: Sealer, row: InstanceRow): Record<string, string> {
  return row.secretOutputs === null
    ? {}
    : (JSON.parse(sealer.unseal(placeOf(row), row.secretOutputs)) as Record<string, string>)
}

/** What the instance has after these were told; those that were told before stay. */
export function sealOutputs(
  sealer: Sealer,
  row: InstanceRow,
  told: Outputs,
): Pick<InstanceRow, "secretNames" | "secretOutputs"> {
  const { secretNames, secretOutputs } = row
  if (Object.keys(told).length === 0) return { secretNames, secretOutputs }
  const all = { ...unsealOutputs(sealer, row), ...told }
  return { secretNames: Object.keys(all).toSorted(), secretOutputs: sealer.seal(placeOf(row), JSON.stringify(all)) }
}
