import { AppError } from "@signalbox/kernel/app-error"
import { getDuration } from "@signalbox/kernel/duration"
import type { Command } from "commander"
import { addCommand, type CommandContext, type CommandFrame, onRun, textOption } from "../command.ts"
import { exitCodes } from "../exit-codes.ts"
import { readRecord } from "../generated/field-option.ts"
import { readInputFile } from "../input-file.ts"
import { printLine } from "../io.ts"
import { safeLine } from "../output/safe-text.ts"
import { renderTable } from "../output/table.ts"
import { collect } from "./run-options.ts"

/** `nodes install`: machines of an Ansible inventory become nodes, by ssh. */
export function addNodesInstall(nodes: Command, frame: CommandFrame): void {
  const command = addCommand(nodes, "install", "Install the agent on machines by ssh, and make them nodes")
    .option("--ssh", "by the system's ssh and its settings, which never asks; there is no other way")
    .requiredOption("-i, --inventory <file>", "an Ansible inventory, INI or YAML; - for standard input")
    .option("--limit <name>", "a host or a group of the inventory (repeatable)", collect)
    .option("--dry-run", "look at every machine and say what would be done")
    .option("--parallel <number>", "machines at once", "10")
    .option("--tag <key=value>", "a tag of every node (repeatable)", collect)
    .option("--tag-from-groups", "a tag group.NAME for each group that a host is in")
    .option("--no-service", "start the agent without a systemd service; so it is where there is no systemd or no root")
    .option(
      "--prefix <directory>",
      "where the program goes (default: /opt/signalbox as root, else ~/.local/lib/signalbox)",
    )
    .option(
      "--data <directory>",
      "the agent's data (default: /var/lib/signalbox-agent as root, else ~/.local/share/signalbox-agent)",
    )
    .option("--server-url <url>", "where the machines reach the server (default: where it says itself)")
    .option("--ssh-option <name=value>", "given to ssh -o (repeatable)", collect)
    .option("--wait <duration>", "how long a node may take to come online", "60s")
  onRun(command, frame, { run: install })
}

async function install(context: CommandContext): Promise<number> {
  const { options, io } = context
  const [{ parseInventory }, { planInstall }, { installHosts, installLimits }, { checkPlace }] = await Promise.all([
    import("../inventories/inventory.ts"),
    import("../install/install-plan.ts"),
    import("../install/install-hosts.ts"),
    import("../install/remote-scripts.ts"),
  ])
  const file = textOption(context, "inventory") ?? ""
  const inventory = parseInventory(await readInputFile(file, io), file)
  const limit = (options["limit"] as string[] | undefined) ?? []
  const targets = planInstall(inventory, { tagFromGroups: options["tagFromGroups"] === true, limit })
  const place = (name: "prefix" | "data") => {
    const given = textOption(context, name)
    return given === undefined ? {} : { [name]: checkPlace(`--${name}`, given) }
  }
  const serverUrl = textOption(context, "serverUrl")
  const stop = new AbortController()
  const release = io.onStop(() => stop.abort())
  const dryRun = options["dryRun"] === true
  try {
    const { plans, results } = await installHosts({
      ...{ targets, dryRun, signal: stop.signal },
      client: await context.client(),
      places: { ...place("prefix"), ...place("data") },
      sshOptions: (options["sshOption"] as string[] | undefined) ?? [],
      parallelMax: wholeNumber(textOption(context, "parallel"), installLimits.parallelMax),
      service: options["service"] !== false,
      tags: readRecord((options["tag"] as string[] | undefined) ?? [], "--tag"),
      onlineMilliseconds: getDuration(textOption(context, "wait") ?? ""),
      onProgress: (line) => void printLine(io.stderr, safeLine(line)).catch(() => stop.abort()),
      ...(serverUrl === undefined ? {} : { serverUrl }),
    })
    const planned = plans.map(({ target, action, reason }) => ({
      ...{ host: target.host, node: target.name, address: target.address, action },
      ...{ tags: target.tags, reason: [reason, ...target.notes].join("; ") },
    }))
    const fields = dryRun
      ? ["host", "node", "address", "action", "tags", "reason"]
      : ["host", "node", "result", "state", "detail"]
    await context.show(dryRun ? { plan: planned } : { results }, (columns) =>
      renderTable(dryRun ? planned : results, { fields, columns }),
    )
    const isBad = dryRun
      ? plans.some(({ action }) => action === "refuse")
      : results.some(({ result }) => result === "failed")
    return isBad ? exitCodes.negative : exitCodes.ok
  } catch (error) {
    if (stop.signal.aborted) return exitCodes.interrupted
    throw error
  } finally {
    release()
  }
}

function wholeNumber(text: string | undefined, most: number): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1 || value > most)
    throw new AppError("cli.usage", `--parallel takes a number from 1 to ${most}`)
  return value
}
