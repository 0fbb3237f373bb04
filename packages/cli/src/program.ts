import { operations } from "@signalbox/contracts/operations"
import { assert } from "@signalbox/kernel/assert"
import type { Command } from "commander"
import { createBaseProgram } from "./base-program.ts"
import { addCommand, type CommandFrame } from "./command.ts"
import { addAgent } from "./commands/agent.ts"
import { addApply } from "./commands/apply.ts"
import { addCalendarsImport } from "./commands/calendars-import.ts"
import { addKeygen } from "./commands/approval-keys.ts"
import { addApprovalVerify } from "./commands/approval-verify.ts"
import { addAudit } from "./commands/audit.ts"
import { addChangePassword } from "./commands/change-password.ts"
import { addContexts } from "./commands/contexts.ts"
import { addDatabase } from "./commands/database.ts"
import { addDemo } from "./commands/demo.ts"
import { addExec } from "./commands/exec.ts"
import { addLogin } from "./commands/login.ts"
import { addNodesImport } from "./commands/nodes-import.ts"
import { addNodesInstall } from "./commands/nodes-install.ts"
import { addPushArtifact } from "./commands/push-artifact.ts"
import { addRulesTest } from "./commands/rules-test.ts"
import { addRun } from "./commands/run.ts"
import { addServe } from "./commands/serve.ts"
import { addWait } from "./commands/wait.ts"
import { addWhoami } from "./commands/whoami.ts"
import { addWhy } from "./commands/why.ts"
import { exitCodeTexts } from "./exit-codes.ts"
import { addOperationCommand } from "./generated/operation-command.ts"
import { nounSummaries, operationOverrides, operationsWithoutCommand } from "./generated/operation-overrides.ts"
import { print } from "./io.ts"

/** The whole command line. */
export function createProgram(frame: CommandFrame, version: string): Command {
  const program = createBaseProgram(frame, version)
  program.commandsGroup("Change things:")
  for (const add of [addApply, addRun, addExec, addWait]) add(program, frame)
  program.commandsGroup("Look at things and keep them in order:")
  addOperationCommands(program, frame)
  addWhy(program, frame)
  addAudit(nounCommand(program, "audit"), frame)
  addKeygen(nounCommand(program, "approvals"), frame)
  addApprovalVerify(nounCommand(program, "approvals"), frame)
  addPushArtifact(nounCommand(program, "artifacts"), frame)
  addCalendarsImport(nounCommand(program, "calendars"), frame)
  addRulesTest(nounCommand(program, "rules"), frame)
  for (const add of [addNodesInstall, addNodesImport]) add(nounCommand(program, "nodes"), frame)
  program.commandsGroup("Log in:")
  for (const add of [addLogin, addContexts, addWhoami, addChangePassword]) add(program, frame)
  program.commandsGroup("Run the parts:")
  for (const add of [addServe, addAgent, addDemo, addDatabase]) add(program, frame)
  program.commandsGroup("Help:")
  addExitCodes(program, frame)
  return program
}

function addOperationCommands(program: Command, frame: CommandFrame): void {
  for (const operation of operations) {
    if (Object.hasOwn(operationsWithoutCommand, operation.name)) continue
    const override = operationOverrides[operation.name] ?? {}
    const words = override.words ?? operation.name.split(".")
    const verb = words.at(-1)
    assert(verb !== undefined && words.length <= 2, `the command of ${operation.name} has one or two words`)
    const parent = words.length === 1 ? program : nounCommand(program, words[0] ?? "")
    addOperationCommand(parent, frame, { operation, verb, override })
  }
}

function nounCommand(program: Command, noun: string): Command {
  const found = program.commands.find((command) => command.name() === noun)
  if (found) return found
  const summary = nounSummaries[noun]
  assert(summary, `the noun ${noun} has a line of help`)
  const command = addCommand(program, noun, summary).helpCommand(false)
  const isFiled = ["put", "apply"].some((verb) => operationsWithoutCommand[`${noun}.${verb}`]?.startsWith(applied))
  return isFiled ? command.addHelpText("after", "\nOne is made or changed by `signalbox apply -f FILE`.") : command
}

/** How operations begin that documents are for. */
const applied = "`signalbox apply -f` calls it"

function addExitCodes(program: Command, { io, outcome }: CommandFrame): void {
  const table = exitCodeTexts.map(([code, text]) => `  ${String(code).padStart(3)}  ${text}\n`).join("")
  const command = addCommand(program, "exit-codes", "List the exit codes").addHelpText("after", `\n${table}`)
  command.action(async () => {
    outcome.doing = "signalbox exit-codes"
    await print(io.stdout, table)
  })
}
