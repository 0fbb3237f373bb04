import type { SealedTexts } from "../../router/ports.ts"
import { confidentialUse } from "./confidential-message.ts"

/** The confidential messages of deliveries, which are kept with them. */
export const sealedMessages: SealedTexts = {
  use: confidentialUse,
  async list(sql, { after, limit, otherThan }) {
    const rows = await sql.query<{ key: string; account: string; text: string }>(
      `select id as key, account, message ->> 'sealed' as text from deliveries
       where message ? 'sealed' and not starts_with(message ->> 'sealed', $1) and id > $2 order by id limit $3`,
      [otherThan, after, limit],
    )
    return rows.map(({ key, account, text }) => ({ key, place: { account, id: confidentialUse }, text }))
  },
  async replace(sql, { key, text: before }, text) {
    await sql.query(
      `update deliveries set message = jsonb_set(message, '{sealed}', to_jsonb($3::text))
       where id = $1 and message ->> 'sealed' = $2`,
      [key, before, text],
    )
  },
}
