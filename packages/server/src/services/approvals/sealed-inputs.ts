import type { SealedTexts } from "../../router/ports.ts"
import { heldInputUse } from "./held-gate.ts"

/** The inputs of held calls that have not ended. */
export const sealedInputs: SealedTexts = {
  use: heldInputUse,
  async list(sql, { after, limit, otherThan }) {
    const rows = await sql.query<{ key: string; account: string; id: string; text: string }>(
      `select request_id as key, account, body_hash as id, sealed as text from held_operations
       where sealed is not null and not starts_with(sealed, $1) and request_id > $2 order by request_id limit $3`,
      [otherThan, after, limit],
    )
    return rows.map(({ key, account, id, text }) => ({ key, place: { account, id }, text }))
  },
  async replace(sql, { key, text: before }, text) {
    await sql.query("update held_operations set sealed = $3 where request_id = $1 and sealed = $2", [key, before, text])
  },
}
