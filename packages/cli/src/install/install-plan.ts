import { AppError } from "@signalbox/kernel/app-error"
import type { AnsibleInventory, InventoryHost } from "../inventories/inventory.ts"

/** A host of an inventory as a machine to reach and a node to be. */
export interface InstallTarget {
  /** The node's name: the host's, with what a name may not hold made a dash. */
  readonly name: string
  readonly host: string
  readonly address: string
  readonly port?: string
  readonly user?: string
  readonly identityFile?: string
  /** Whether to change to root with sudo. */
  readonly become: boolean
  readonly groups: readonly string[]
  readonly tags: Readonly<Record<string, string>>
  /** What the inventory says of the host and is not taken over. */
  readonly notes: readonly string[]
}

export interface PlanOptions {
  readonly tagFromGroups: boolean
  /** Names of hosts and groups; none: all. */
  readonly limit: readonly string[]
  /** False: nobody will reach the hosts by ssh, so that it doesn't matter how the inventory says they are reached. */
  readonly isReached?: boolean
}

const tagKeyMax = 63
const ignoredVariables =
  /^ansible_(?:ssh_(?:common|extra)_args|ssh_executable|password|ssh_pass|become_pass(?:word)?|sudo_pass)$/
const isTrue = (text: string | undefined): boolean => /^(?:true|yes|on|y|1)$/i.test(text ?? "")

/** The tag that a node gets for a group of the inventory. @example groupTag("web") // "group.web" */
export function groupTag(group: string): string {
  return `group.${group.replaceAll(/[^A-Za-z0-9._/-]/g, "-")}`.slice(0, tagKeyMax)
}

/** @example nodeNameOf("Web 1.lan") // "web-1.lan" */
export function nodeNameOf(host: string): string {
  const name = host
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, "-")
    .slice(0, 63)
  return name.replaceAll(/^[^a-z0-9]+|[^a-z0-9]+$/g, "") || "node"
}

/**
 * What to install where. Pure.
 *
 * @throws cli.invalid-inventory where a host can't be meant as it stands: two hosts of one node name, a connection other
 *   than ssh, another way to become root than sudo, a value that only Ansible can compute
 */
export function planInstall(inventory: AnsibleInventory, options: PlanOptions): InstallTarget[] {
  const unknown = options.limit.filter(
    (wanted) => !inventory.groups.includes(wanted) && !inventory.hosts.some(({ name }) => name === wanted),
  )
  const issues = unknown.map((wanted) => ({ path: wanted, message: "is neither a host nor a group of the inventory" }))
  const isMeant = ({ name, groups }: InventoryHost): boolean =>
    options.limit.length === 0 || options.limit.some((wanted) => wanted === name || groups.includes(wanted))
  const targets: InstallTarget[] = []
  const names = new Map<string, string>()
  for (const host of inventory.hosts.filter(isMeant)) {
    const name = nodeNameOf(host.name)
    const faults = options.isReached === false ? [] : faultsOf(host)
    const twin = names.get(name)
    if (twin !== undefined) faults.push(`would be the node "${name}", as "${twin}" would`)
    names.set(name, host.name)
    issues.push(...faults.map((message) => ({ path: host.name, message })))
    if (faults.length === 0) targets.push(toTarget(host, name, options))
  }
  if (issues.length > 0) {
    throw new AppError("cli.invalid-inventory", "hosts of the inventory can't be taken as they stand", {
      issues: issues.slice(0, 100),
    })
  }
  return targets
}

function faultsOf({ name, variables }: InventoryHost): string[] {
  const faults: string[] = []
  const connection = variables.get("ansible_connection") ?? "ssh"
  if (connection !== "ssh" && connection !== "smart")
    faults.push(`is reached by "${connection}"; only ssh is possible here`)
  const method = variables.get("ansible_become_method") ?? "sudo"
  if (isTrue(variables.get("ansible_become")) && method !== "sudo")
    faults.push(`becomes root by "${method}"; only sudo is possible here`)
  const becomeUser = variables.get("ansible_become_user") ?? "root"
  if (isTrue(variables.get("ansible_become")) && becomeUser !== "root")
    faults.push(`becomes "${becomeUser}"; only root is possible here`)
  const words = [name, reach(variables, "host"), reach(variables, "user")]
  for (const word of [...words, variables.get("ansible_ssh_private_key_file")]) {
    if (word?.includes("{{") === true) faults.push(`has a value that only Ansible can compute: ${word}`)
    // It would be taken for an option of ssh, or for two words.
    else if (word?.startsWith("-") === true || (words.includes(word) && /[\s\0]/.test(word ?? "")))
      faults.push(`has a value that ssh would misread: ${word}`)
  }
  const port = reach(variables, "port")
  if (port !== undefined && !/^\d{1,5}$/.test(port)) faults.push(`has a port that is none: ${port}`)
  return faults
}

/** A variable by its name of today or its older one. */
function reach(variables: InventoryHost["variables"], what: "host" | "port" | "user"): string | undefined {
  return variables.get(`ansible_${what}`) ?? variables.get(`ansible_ssh_${what}`)
}

function toTarget({ name: host, groups, variables }: InventoryHost, name: string, options: PlanOptions): InstallTarget {
  const [port, user] = [reach(variables, "port"), reach(variables, "user")]
  const identityFile = variables.get("ansible_ssh_private_key_file")
  return {
    name,
    host,
    address: reach(variables, "host") ?? host,
    ...(port === undefined ? {} : { port }),
    ...(user === undefined ? {} : { user }),
    ...(identityFile === undefined ? {} : { identityFile }),
    become: isTrue(variables.get("ansible_become")),
    groups,
    tags: options.tagFromGroups ? Object.fromEntries(groups.map((group) => [groupTag(group), ""])) : {},
    notes: [...variables.keys()].filter((key) => ignoredVariables.test(key)).map((key) => `${key} is ignored`),
  }
}
