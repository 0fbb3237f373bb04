import { checkExport, type CheckedApproval } from "@signalbox/attestation/approval-bundle"
import { exportTrust } from "@signalbox/contracts/approvals/signed-votes"
import { AppError } from "@signalbox/kernel/app-error"
import type { Command } from "commander"
import type { z } from "zod"
import { addCommand, type CommandContext, type CommandFrame, onRun, textOption } from "../command.ts"
import { exitCodes } from "../exit-codes.ts"
import { readInputFile } from "../input-file.ts"
import { safeLine } from "../output/safe-text.ts"

/** `signalbox approvals verify`: an exported approval, checked without a server. */
export function addApprovalVerify(approvals: Command, frame: CommandFrame): void {
  const command = addCommand(approvals, "verify <file>", "Check an exported approval, without a server")
    .description(
      "Check an exported approval, without a server.\n\nExit code 0: enough trusted members signed that they approve exactly this content. 1: not so, and the place that doesn't fit is named. 2: the trust file can't be understood.",
    )
    .requiredOption("--trust <file>", "whose signatures count: YAML with keys, quorum, maxAge, installation")
  onRun(command, frame, { connects: false, run: verify })
}

async function verify(context: CommandContext): Promise<number> {
  const trust = await readTrust(textOption(context, "trust") ?? "", context)
  const text = await readInputFile(context.words[0] as string, context.io)
  const { installation, ...members } = trust
  const check = checkExport(text, members, { now: Date.now(), installation })
  const isChecked = installation.length > 0
  if (!check.ok) {
    const { place, message } = check.fault
    await context.show({ valid: false, place, message }, () => safeLine(`not valid: ${place}: ${message}`) + "\n")
    return exitCodes.negative
  }
  const { request, account, digest, approvers } = check.value
  const shown = {
    valid: true,
    request,
    account,
    digest,
    installationChecked: isChecked,
    approvers: approversOf(approvers),
  }
  await context.show(shown, () => textOf(check.value, isChecked))
  return exitCodes.ok
}

function approversOf(approvers: CheckedApproval["approvers"]) {
  return approvers.map(({ member, vote: { voter, level, at } }) => ({ member, voter, level, at }))
}

function textOf({ request, digest, approvers }: CheckedApproval, isChecked: boolean): string {
  const lines = [
    `valid: ${request}, content ${digest}`,
    ...approversOf(approvers).map(
      ({ member, voter, level, at }) => `approved by ${member} (${voter}), level ${level}, ${at}`,
    ),
    isChecked
      ? "the installation's own signatures fit"
      : "the installation's own signatures were not checked: the trust file names no key under `installation`",
  ]
  return lines.map((line) => `${safeLine(line)}\n`).join("")
}

/** @throws cli.usage */
async function readTrust(path: string, context: CommandContext): Promise<z.output<typeof exportTrust>> {
  const { parse } = await import("yaml")
  const text = await readInputFile(path, context.io)
  let value: unknown
  try {
    value = parse(text, { maxAliasCount: 0 })
  } catch (cause) {
    throw new AppError("cli.usage", `${path} is no YAML: ${String(cause)}`, { cause })
  }
  const parsed = exportTrust.safeParse(value)
  if (parsed.success) return parsed.data
  const issues = parsed.error.issues.slice(0, 10).map(({ path: at, message }) => `${at.join(".")}: ${message}`)
  throw new AppError("cli.usage", `the trust file ${path} is not understood: ${issues.join("; ")}`)
}
