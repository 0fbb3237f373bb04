import { realpath } from "node:fs/promises"
import { join } from "node:path"
import type { PlaybookOrder, TaskOrder } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError } from "@signalbox/kernel/app-error"
import { findProgram } from "./find-program.ts"
import { makeWorkPlace, putWorkFile, removeWorkPlace } from "./output-file.ts"
import { baseEnvironment, findProcessOwner } from "./process-owner.ts"
import { isInside, resolveInRoot } from "./root-path.ts"
import { runProcess } from "./step-process.ts"
import { fillText, type StepTry } from "./step-try.ts"
import type { TryResult } from "./try-result.ts"

const program = "ansible-playbook"
/** No colours, no hints for people, no files left behind. */
const settings = {
  ANSIBLE_NOCOLOR: "1",
  ANSIBLE_RETRY_FILES_ENABLED: "0",
  ANSIBLE_LOCALHOST_WARNING: "0",
  ANSIBLE_INVENTORY_UNPARSED_WARNING: "0",
} as const

/** @throws agent.step-refused where an order has a playbook and this node has no Ansible; said before anything runs */
export async function requireAnsible(order: TaskOrder, root: string): Promise<void> {
  const step = order.steps.find(({ playbook, undo }) => playbook ?? (undo && "playbook" in undo))
  if (!step) return
  const { PATH = "" } = { ...baseEnvironment(root, await findProcessOwner(step.user)), ...plainPath(step.environment) }
  if ((await findProgram(program, PATH)) !== undefined) return
  throw new AppError("agent.step-refused", `step "${step.name}" needs Ansible, and this node has no ${program}`)
}

function plainPath({ PATH }: TaskOrder["steps"][number]["environment"]): { PATH?: string } {
  return typeof PATH === "string" ? { PATH } : {}
}

/** Runs a playbook on the node itself; its variables travel in a file, never on the command line. */
export async function performPlaybook(attempt: StepTry, playbook: PlaybookOrder): Promise<TryResult> {
  const { inputs, step, context } = attempt
  const owner = await findProcessOwner(step.user)
  const place = makeWorkPlace(attempt, owner)
  try {
    const variables = Object.entries(playbook.variables).map(([name, value]) => [
      name,
      typeof value === "number" || typeof value === "boolean" ? value : fillText(value, inputs),
    ])
    putWorkFile(join(place, "variables.json"), JSON.stringify(Object.fromEntries(variables)), owner)
    if (playbook.content !== undefined) putWorkFile(join(place, "playbook.yml"), playbook.content, owner)
    const path =
      playbook.path === undefined ? join(place, "playbook.yml") : await findPlaybook(context.root, playbook.path)
    const tags = playbook.tags.length === 0 ? [] : ["--tags", playbook.tags.join(",")]
    const words = [program, "-i", "localhost,", "-c", "local", "-e", `@${join(place, "variables.json")}`, ...tags, path]
    // Its own files go beside the playbook: the user may have no home to write to.
    const own = { ANSIBLE_LOCAL_TEMP: join(place, "ansible"), ANSIBLE_REMOTE_TEMP: join(place, "ansible") }
    const result = await runProcess(attempt, { argv: words }, { owner, environment: { ...settings, ...own } })
    const changed = findChanged(`${result.stdout.head}${result.stdout.tail}`)
    return { ...result, ...(changed !== undefined && { changed }) }
  } finally {
    await removeWorkPlace(place)
  }
}

async function findPlaybook(root: string, path: string): Promise<string> {
  const real = await realpath(await resolveInRoot(root, path)).catch((cause: unknown) => {
    throw new AppError("agent.step-refused", `there is no playbook ${path} on this node`, { cause })
  })
  if (!isInside(await realpath(root), real)) throw new AppError("agent.path-refused", `"${path}" leads out of the root`)
  return real
}

/** From the recap, the last thing that Ansible prints: `localhost : ok=2 changed=1 …`. */
function findChanged(output: string): boolean | undefined {
  const count = /PLAY RECAP[^]*\bchanged=(\d+)/.exec(output)?.[1]
  return count === undefined ? undefined : Number(count) > 0
}
