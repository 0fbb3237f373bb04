import type { SealedPlace, SealedTexts } from "../../router/ports.ts"

const relayUse = "agent-relay"

/** Where a text lies on its way between servers. Ids of nodes are unique over all accounts, so the place names none. */
export const relayPlace = (id: string): SealedPlace => ({ account: "*", use: relayUse, id })

/** The secrets of orders, and the questions of health checks, that are on their way to another server. */
export const sealedRelay: SealedTexts = {
  use: relayUse,
  async list(sql, { after, limit, otherThan }) {
    const rows = await sql.query<{ key: string; text: string }>(
      `select key, text from (
         select format('order %s %s %s', node_id, key, type) as key, sealed as text from agent_outbox
         union all select format('probe %s', id), question from agent_probes where answer is null) as t
       where text is not null and not starts_with(text, $1) and key collate "C" > $2
       order by key collate "C" limit $3`,
      [otherThan, after, limit],
    )
    return rows.map(({ key, text }) => ({ key, place: relayPlace(key), text }))
  },
  async replace(sql, { key, text: before }, text) {
    await sql.query(
      `with orders as (
         update agent_outbox set sealed = $3 where sealed = $2 and format('order %s %s %s', node_id, key, type) = $1)
       update agent_probes set question = $3 where question = $2 and format('probe %s', id) = $1`,
      [key, before, text],
    )
  },
}
