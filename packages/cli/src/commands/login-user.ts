import { authLogout, passwordsRedeem, userSessionsCreate } from "@signalbox/contracts/identity/user-sessions"
import { type Reply, secretShownOnce } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import type { Client } from "@signalbox/sdk/client"
import { type CommandContext, textOption } from "../command.ts"
import type { Context } from "../contexts.ts"
import { readInputFile } from "../input-file.ts"
import { askForPassword, askForNewPassword } from "./login-questions.ts"

/** What a login as a person gives: what to store, and under which name unless one is given. */
export interface PersonLogin {
  readonly token: string
  readonly user: string
}

/** Where to log in, before anybody has. */
export type LoginPlace = Pick<Context, "url" | "caPem">

export const defaultAccount = "main"

/** Logs in with a password; with a one-time code it is set first. */
export async function loginByPassword(context: CommandContext, place: LoginPlace, user: string): Promise<PersonLogin> {
  const account = textOption(context, "account") ?? defaultAccount
  const code = textOption(context, "code")
  const password = await readPassword(context, { user, isNew: code !== undefined })
  const loggedIn = await withClient(place, async (client) => {
    if (code !== undefined) doneOf(await client.call(passwordsRedeem, { account, user, code, password }))
    return doneOf(await client.call(userSessionsCreate, { account, user, password }))
  })
  return { token: shownToken(loggedIn.token), user: loggedIn.name }
}

async function readPassword(
  context: CommandContext,
  of: { readonly user: string; readonly isNew: boolean },
): Promise<string> {
  const file = textOption(context, "passwordFile")
  // What editors and `echo` end a file with is hardly ever part of a password.
  if (file !== undefined) return (await readInputFile(file, context.io)).replace(/\r?\n$/, "")
  return of.isNew ? await askForNewPassword(context.io) : await askForPassword(context.io, `Password of ${of.user}`)
}

/** Ends the session of a stored login at its server; gives where the provider's own session is ended, if there is one. */
export async function logOutAtServer(stored: Context): Promise<string | undefined> {
  return await withClient(stored, async (client) => doneOf(await client.call(authLogout, {})).logoutUrl)
}

/** True where a stored login is a person's session, not an API key. */
export function isSession({ key }: Context): boolean {
  return /^sbx_[a-z0-9-]+_uss/.test(key)
}

/** A token is shown once: a reply that was lost took it along. @throws cli.usage */
export function shownToken(token: string): string {
  if (token !== secretShownOnce) return token
  throw new AppError("cli.usage", "the first reply was lost, and with it the session's token: log in again")
}

/** Logins are never held. */
export function doneOf<T>(reply: Reply<T>): T {
  if (reply.status === "done") return reply.value
  throw new AppError("request.internal", "the server held a login for approval")
}

export async function withClient<T>(
  place: LoginPlace & { readonly key?: string },
  run: (client: Client) => Promise<T>,
): Promise<T> {
  const { createClient } = await import("@signalbox/sdk/client")
  const { url, caPem, key } = place
  const client = createClient({ url, ...(key ? { key } : {}), ...(caPem ? { caPem } : {}), userAgent: "signalbox-cli" })
  try {
    return await run(client)
  } finally {
    await client.close()
  }
}
