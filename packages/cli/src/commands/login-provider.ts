import { userSessionsBegin, userSessionsComplete } from "@signalbox/contracts/identity/user-sessions"
import { AppError } from "@signalbox/kernel/app-error"
import { type CommandContext, textOption } from "../command.ts"
import { printLine } from "../io.ts"
import { readPort } from "./callback-listener.ts"
import { defaultAccount, doneOf, type LoginPlace, type PersonLogin, shownToken, withClient } from "./login-user.ts"

/**
 * Logs in by an identity provider: the person opens an address, and the provider sends their browser back to a port of
 * this machine. Where the browser is on another machine, the address that it can't reach is pasted here.
 */
export async function loginByProvider(
  context: CommandContext,
  place: LoginPlace,
  provider: string | undefined,
): Promise<PersonLogin> {
  const { listenForCallback } = await import("./callback-listener.ts")
  const account = textOption(context, "account") ?? defaultAccount
  const listener = await listenForCallback(readPort(textOption(context, "callbackPort")))
  try {
    return await withClient(place, async (client) => {
      const { redirectUri } = listener
      const input = { account, redirectUri, ...(provider === undefined ? {} : { provider }) }
      const begun = doneOf(await client.call(userSessionsBegin, input))
      shownToken(begun.attempt)
      await printLine(context.io.stderr, explanation(begun.provider, begun.authorizationUrl))
      const callbackUrl = await listener.wait({
        state: new URL(begun.authorizationUrl).searchParams.get("state") ?? "",
        until: Date.parse(begun.expiresAt),
        pasted: context.io.stdin,
      })
      const { attempt } = begun
      const loggedIn = doneOf(await client.call(userSessionsComplete, { account, attempt, callbackUrl }))
      return { token: shownToken(loggedIn.token), user: loggedIn.name }
    })
  } finally {
    await listener.close()
  }
}

function explanation(provider: string, url: string): string {
  return [
    `Log in by "${provider}": open this address in a browser.`,
    "",
    `  ${url}`,
    "",
    "If the browser is on another machine, it ends at an address on 127.0.0.1 that it can't reach: paste that here.",
  ].join("\n")
}

/** `--oidc` takes a provider's name, or none. */
export function providerOption(context: CommandContext): { readonly name?: string } | undefined {
  const given = context.options["oidc"]
  if (given === undefined || given === false) return undefined
  if (given === true) return {}
  if (typeof given === "string") return { name: given }
  throw new AppError("cli.usage", "--oidc takes the name of an identity provider")
}
