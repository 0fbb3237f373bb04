/** Where a delivery goes: a channel by its name, or one address, which no channel's name can look like. */
const prefix = "mailto:"

export type Recipient = { readonly channel: string } | { readonly mail: string }

/** What the column `channel` of a delivery holds. */
export function recipientText(to: Recipient): string {
  return "channel" in to ? to.channel : `${prefix}${to.mail}`
}

/** The address, where a delivery goes to one. */
export function findAddress(text: string): string | undefined {
  return text.startsWith(prefix) ? text.slice(prefix.length) : undefined
}
