import { AppError, isAppError } from "@signalbox/kernel/app-error"
import type { Command } from "commander"
import { addCommand, type CommandContext, type CommandFrame, onRun } from "../command.ts"
import { type ContextFile, contextFilePath, readContexts, writeContexts } from "../contexts.ts"
import { printLine } from "../io.ts"
import { safeLine } from "../output/safe-text.ts"
import { renderTable } from "../output/table.ts"
import { isSession, logOutAtServer } from "./login-user.ts"

/** Stored logins: list, choose, remove. */
export function addContexts(program: Command, frame: CommandFrame): void {
  const contexts = addCommand(program, "contexts", "Stored logins").helpCommand(false)
  onRun(addCommand(contexts, "list", "List the stored logins"), frame, { connects: false, run: list })
  onRun(addCommand(contexts, "use <name>", "Make a stored login the current one"), frame, {
    connects: false,
    run: (context) => change(context, (file, name) => ({ ...file, current: name })),
  })
  onRun(addCommand(contexts, "remove <name>", "Remove a stored login"), frame, { connects: false, run: remove })
  const logout = "End a stored login's session and remove it, the current one unless it is named"
  onRun(addCommand(program, "logout [name]", logout), frame, { connects: false, run: logOut })
}

/** The session ends at the server first; a server that can't be reached doesn't keep the stored login. */
async function logOut(context: CommandContext): Promise<void> {
  const file = await readContexts(contextFilePath(context.io.environment))
  const [given] = context.words
  const stored = file.contexts[typeof given === "string" ? given : (file.current ?? "")]
  if (stored && isSession(stored)) {
    try {
      const logoutUrl = await logOutAtServer(stored)
      if (logoutUrl !== undefined)
        await printLine(context.io.stderr, `to log out of the identity provider too, open ${safeLine(logoutUrl)}`)
    } catch (error) {
      if (!isAppError(error)) throw error
      const ended = error.code === "identity.invalid-credentials"
      if (!ended) await printLine(context.io.stderr, `the session could not be ended: ${safeLine(error.message)}`)
    }
  }
  await remove(context)
}

async function list(context: CommandContext): Promise<void> {
  const file = await readContexts(contextFilePath(context.io.environment))
  const items = Object.entries(file.contexts).map(([name, { url, caFingerprint }]) => ({
    name,
    current: name === file.current,
    url,
    ...(caFingerprint ? { caFingerprint } : {}),
  }))
  await context.show({ items }, (columns) =>
    items.length === 0
      ? "none\n"
      : renderTable(items, { fields: ["name", "current", "url", "caFingerprint"], columns }),
  )
}

function remove(context: CommandContext): Promise<void> {
  return change(context, ({ current, contexts }, name) => {
    const { [name]: _, ...rest } = contexts
    return { contexts: rest, ...(current === undefined || current === name ? {} : { current }) }
  })
}

async function change(context: CommandContext, edit: (file: ContextFile, name: string) => ContextFile): Promise<void> {
  const path = contextFilePath(context.io.environment)
  const file = await readContexts(path)
  const [given] = context.words
  const name = typeof given === "string" ? given : file.current
  if (name === undefined || !Object.hasOwn(file.contexts, name)) {
    throw new AppError(
      "cli.usage",
      name === undefined ? "there is no current login" : `there is no stored login "${name}"`,
    )
  }
  const edited = edit(file, name)
  await writeContexts(path, edited)
  const shown = { name, ...(edited.current === undefined ? {} : { current: edited.current }) }
  await context.show(
    shown,
    () => `the current login is ${edited.current === undefined ? "none" : `"${edited.current}"`}\n`,
  )
}
