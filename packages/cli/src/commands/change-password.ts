import { passwordsChange } from "@signalbox/contracts/identity/user-sessions"
import type { Command } from "commander"
import { addCommand, type CommandContext, type CommandFrame, onRun, textOption } from "../command.ts"
import { readInputFile } from "../input-file.ts"
import { askForNewPassword, askForPassword } from "./login-questions.ts"
import { doneOf } from "./login-user.ts"

export function addChangePassword(program: Command, frame: CommandFrame): void {
  const command = addCommand(program, "change-password", "Change your own password; your other sessions end")
    .option("--current-file <file>", "file with the current password, instead of a question; - for standard input")
    .option("--new-file <file>", "file with the new password, instead of a question; - for standard input")
  onRun(command, frame, { run: changePassword })
}

async function changePassword(context: CommandContext): Promise<void> {
  const { io } = context
  const current = (await fromFile(context, "currentFile")) ?? (await askForPassword(io, "Current password"))
  const password = (await fromFile(context, "newFile")) ?? (await askForNewPassword(io))
  const client = await context.client()
  const changed = doneOf(await client.call(passwordsChange, { current, password }))
  await context.show(changed, () => `the password of ${changed.name} is changed; the other sessions have ended\n`)
}

async function fromFile(context: CommandContext, option: string): Promise<string | undefined> {
  const file = textOption(context, option)
  return file === undefined ? undefined : (await readInputFile(file, context.io)).replace(/\r?\n$/, "")
}
