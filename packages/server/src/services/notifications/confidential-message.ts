import type { Sealer } from "../../router/ports.ts"
import type { Message } from "./model.ts"

/** A confidential message rests in the database without what only its recipient may read. */

export const confidentialUse = "confidential-message"

const placeIn = (account: string) => ({ account, use: confidentialUse, id: confidentialUse })

interface Hidden extends Pick<Message, "actions" | "text" | "html"> {}

export function sealMessage(sealer: Sealer, account: string, message: Message): Message {
  if (message.confidential !== true) return message
  const { actions, text, html, ...rest } = message
  return { ...rest, sealed: sealer.seal(placeIn(account), JSON.stringify({ actions, text, html })) }
}

/** As it is sent. @throws secrets.unreadable where it was sealed under another master key */
export function openMessage(sealer: Sealer, account: string, message: Message): Message {
  const { sealed, ...rest } = message
  if (sealed === undefined) return message
  return { ...rest, ...(JSON.parse(sealer.unseal(placeIn(account), sealed)) as Hidden) }
}
