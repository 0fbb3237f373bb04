import type { Command } from "commander"
import { addCommand, type CommandContext, type CommandFrame, onRun, textOption } from "../command.ts"
import { renderDetails } from "../output/details.ts"

export const policyOption = [
  "--policy <file>",
  "YAML file that narrows what is accepted [SIGNALBOX_AGENT_POLICY] (default: /etc/signalbox-agent/policy.yaml as root, " +
    "else ~/.config/signalbox-agent/policy.yaml, if there is one)",
] as const

export function policyOf(context: CommandContext): { readonly policyFile?: string } {
  const policyFile = textOption(context, "policy") ?? (context.io.environment["SIGNALBOX_AGENT_POLICY"] || undefined)
  return policyFile === undefined ? {} : { policyFile }
}

export function addAgentPolicy(agent: Command, frame: CommandFrame): void {
  const policy = addCommand(agent, "policy", "What this machine's agent accepts").helpCommand(false)
  const check = addCommand(policy, "check <file>", "Check a policy and show how the agent understands it")
  onRun(check, frame, { connects: false, run: checkPolicy })
}

async function checkPolicy(context: CommandContext): Promise<void> {
  const { policyDigest, readPolicy } = await import("@signalbox/agent/policy-file")
  const policy = await readPolicy(context.words[0] as string)
  const shown = { digest: policyDigest(policy), policy }
  await context.show(shown, (columns) => renderDetails(shown, columns))
}
