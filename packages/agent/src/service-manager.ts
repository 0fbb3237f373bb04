import { existsSync } from "node:fs"
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import type { CommandWords } from "./command-runner.ts"

/** How a service was before a step, for the way back. */
export interface ServiceState {
  readonly active: boolean
  /** Absent where the step doesn't touch it. */
  readonly enabled?: boolean
}

export type ServiceVerb = "start" | "stop" | "restart" | "reload"

/**
 * What looks after services: systemd where it runs the machine, otherwise the scripts in `/etc/init.d`, which a private
 * root always uses (systemd knows the machine's services only).
 */
export interface ServiceManager {
  /** Asks; exit code 0 means that it runs. */
  readonly activeCommand: CommandWords
  /** What its answer means for a service that is to be stopped: one that is about to be started again is not at rest. */
  isAtRest(answer: { readonly exitCode?: number; readonly said: string }): boolean
  command(verb: ServiceVerb): CommandWords
  /** Asks systemd, or looks at the links of the run levels. */
  readonly enabled: { readonly command: CommandWords } | { readonly links: readonly string[] }
  enableCommand(enabled: boolean): CommandWords | undefined
  /** Why there is no such service, where that can be told without asking. */
  readonly missing: string | undefined
}

const runLevels = ["rc2.d", "rc3.d", "rc4.d", "rc5.d"] as const

/** @param root the agent's root, as a real path */
export async function findServiceManager(root: string, name: string): Promise<ServiceManager> {
  if (root === "/" && existsSync("/run/systemd/system")) return systemdService(name)
  const script = join(root, "etc/init.d", name)
  const links = await findLinks(root, name)
  return {
    activeCommand: { argv: [script, "status"] },
    isAtRest: ({ exitCode }) => exitCode !== 0,
    command: (verb) => ({ argv: [script, verb] }),
    enabled: { links },
    enableCommand: () => undefined,
    missing: existsSync(script) ? undefined : `there is no service "${name}": ${script} doesn't exist`,
  }
}

export function systemdService(name: string): ServiceManager {
  const systemctl = (...words: string[]): CommandWords => ({ argv: ["systemctl", "--no-pager", ...words, "--", name] })
  return {
    activeCommand: systemctl("is-active"),
    isAtRest: ({ exitCode, said }) => exitCode !== 0 && !/^(?:activating|reloading|refreshing)$/.test(said.trim()),
    command: (verb) => systemctl(verb),
    enabled: { command: systemctl("is-enabled") },
    enableCommand: (enabled) => systemctl(enabled ? "enable" : "disable"),
    missing: undefined,
  }
}

/** The links that start a service at boot, relative to the root; those that would be made where there are none. */
export function usualLinks(name: string): string[] {
  return runLevels.map((level) => `etc/${level}/S20${name}`)
}

async function findLinks(root: string, name: string): Promise<string[]> {
  const found: string[] = []
  for (const level of runLevels) {
    const names = await readdir(join(root, "etc", level)).catch(() => [])
    for (const link of names) if (/^S\d\d/.test(link) && link.slice(3) === name) found.push(`etc/${level}/${link}`)
  }
  return found
}
