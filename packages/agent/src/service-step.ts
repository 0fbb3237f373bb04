import { mkdir, realpath, symlink, unlink } from "node:fs/promises"
import { dirname, join } from "node:path"
import type { ServiceOrder } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError } from "@signalbox/kernel/app-error"
import type { CommandResult, CommandWords } from "./command-runner.ts"
import { findProcessOwner } from "./process-owner.ts"
import { resolveInRoot } from "./root-path.ts"
import {
  findServiceManager,
  type ServiceManager,
  type ServiceState,
  type ServiceVerb,
  usualLinks,
} from "./service-manager.ts"
import { runProcess } from "./step-process.ts"
import type { StepTry } from "./step-try.ts"
import type { TryResult } from "./try-result.ts"

const statusTimeoutMilliseconds = 30_000
/** Of what says how a service is. */
const answerBytesMax = 1024

/** Whether it runs and starts at boot. @throws agent.step-refused where there is no such service */
export async function readService(attempt: StepTry, order: ServiceOrder): Promise<ServiceState> {
  const { active, enabled } = await look(attempt, await managerOf(attempt, order), order)
  return enabled === undefined ? { active } : { active, enabled }
}

async function look(attempt: StepTry, manager: ServiceManager, order: ServiceOrder) {
  const { exitCode, stdout } = await ask(attempt, manager.activeCommand)
  const atRest = manager.isAtRest({ ...(exitCode !== undefined && { exitCode }), said: stdout.head })
  const enabled = order.enabled === undefined ? undefined : await isEnabled(attempt, manager)
  return { active: exitCode === 0, atRest, enabled }
}

/** The links that a change of `enabled` may touch, to be saved before it. */
export async function linksOf(attempt: StepTry, order: ServiceOrder): Promise<string[]> {
  const { enabled } = await managerOf(attempt, order)
  if (order.enabled === undefined || !("links" in enabled)) return []
  return [...new Set([...enabled.links, ...usualLinks(order.name)])]
}

/**
 * Brings a service to the state that the order says. `restarted` and `reloaded` always act, and start what doesn't run;
 * the others leave alone what is so already.
 */
export async function performService(attempt: StepTry, order: ServiceOrder): Promise<TryResult> {
  const manager = await managerOf(attempt, order)
  const { active, atRest, enabled } = await look(attempt, manager, order)
  const verb = verbFor(order.state, { active, atRest })
  const isEnabling = order.enabled !== undefined && order.enabled !== enabled
  if (isEnabling) {
    const result = await setEnabled(attempt, { manager, name: order.name, enabled: order.enabled === true })
    if (result && result.state !== "succeeded") return result
  }
  if (!verb) return { state: "succeeded", changed: isEnabling }
  return { ...(await act(attempt, manager, verb)), changed: true }
}

/**
 * Brings back the state before. A service that ran and was to be restarted or reloaded is so again, since its files are
 * the old ones now.
 */
export async function undoService(attempt: StepTry, order: ServiceOrder, before: ServiceState): Promise<TryResult> {
  const manager = await managerOf(attempt, order)
  const { active, enabled } = await readService(attempt, order)
  if (before.enabled !== undefined && before.enabled !== enabled && !("links" in manager.enabled)) {
    const result = await setEnabled(attempt, { manager, name: order.name, enabled: before.enabled })
    if (result && result.state !== "succeeded") return result
  }
  const verb = undoVerb(order.state, before.active, active)
  return verb ? { ...(await act(attempt, manager, verb)), changed: true } : { state: "succeeded", changed: false }
}

function verbFor(
  state: ServiceOrder["state"],
  { active, atRest }: { active: boolean; atRest: boolean },
): ServiceVerb | undefined {
  if (state === "stopped") return atRest ? undefined : "stop"
  if (state === "started") return active ? undefined : "start"
  if (state === "restarted") return active ? "restart" : "start"
  if (state === "reloaded") return active ? "reload" : "start"
  return undefined
}

function undoVerb(state: ServiceOrder["state"], was: boolean, active: boolean): ServiceVerb | undefined {
  if (state === undefined) return undefined
  if (!was) return active ? "stop" : undefined
  if (!active) return "start"
  if (state === "restarted") return "restart"
  return state === "reloaded" ? "reload" : undefined
}

async function managerOf({ context }: StepTry, { name }: ServiceOrder): Promise<ServiceManager> {
  if (name.startsWith("-") || name.includes("/") || name === "." || name === "..") {
    throw new AppError("agent.step-refused", `"${name}" is no service's name`)
  }
  const manager = await findServiceManager(await realpath(context.root), name)
  if (manager.missing !== undefined) throw new AppError("agent.step-refused", manager.missing)
  return manager
}

async function act(attempt: StepTry, manager: ServiceManager, verb: ServiceVerb): Promise<CommandResult> {
  return await runProcess(attempt, manager.command(verb), { owner: await findProcessOwner(attempt.step.user) })
}

/** A question whose output nobody sees. */
async function ask(attempt: StepTry, command: CommandWords): Promise<CommandResult> {
  const timeoutMilliseconds = Math.min(attempt.timeoutMilliseconds, statusTimeoutMilliseconds)
  const step = { ...attempt.step, outputKeptBytes: answerBytesMax }
  const quiet: StepTry = { ...attempt, step, timeoutMilliseconds, live: undefined }
  const result = await runProcess(quiet, command, { owner: await findProcessOwner(attempt.step.user) })
  if (result.exitCode !== undefined) return result
  if (result.state === "killed") attempt.stop.throwIfAborted()
  const why = result.message ?? (result.state === "timed-out" ? "it took too long" : `it was ended by ${result.signal}`)
  throw new AppError("agent.step-refused", `the state of the service can't be told: ${why}`)
}

async function isEnabled(attempt: StepTry, { enabled }: ServiceManager): Promise<boolean> {
  if ("links" in enabled) return enabled.links.length > 0
  return (await ask(attempt, enabled.command)).exitCode === 0
}

async function setEnabled(
  attempt: StepTry,
  wanted: { manager: ServiceManager; name: string; enabled: boolean },
): Promise<TryResult | undefined> {
  const { manager, name, enabled } = wanted
  const command = manager.enableCommand(enabled)
  if (command) return await runProcess(attempt, command, { owner: await findProcessOwner(attempt.step.user) })
  const links = "links" in manager.enabled ? manager.enabled.links : []
  const { root } = attempt.context
  if (!enabled) for (const link of links) await unlink(await resolveInRoot(root, link))
  if (enabled) for (const link of usualLinks(name)) await makeLink(join(await realpath(root), link), name)
  return undefined
}

async function makeLink(path: string, name: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await symlink(`../init.d/${name}`, path)
}
