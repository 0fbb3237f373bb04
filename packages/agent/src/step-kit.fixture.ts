import { spawnSync } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type {
  AgentFrame,
  RollbackOutcome,
  ServerFrame,
  StepOrder,
  TaskOrder,
  TaskOutcome,
} from "@signalbox/contracts/fleet/agent-protocol"
import { agentRunLimits, type AgentRunLimits } from "./agent-limits.ts"
import { silentLogger } from "./agent-logger.ts"
import { deedsOf } from "./attempt.ts"
import type { AttemptContext } from "./attempt-context.ts"
import { Journal } from "./journal.ts"
import { newKey } from "./protocol-server.fixture.ts"
import { runRollback } from "./rollback-runner.ts"
import { machineUptime } from "./server-clock.ts"
import { ServerSteps } from "./server-steps.ts"
import { runTask, type StopReason } from "./task-runner.ts"

type StepRequest = Extract<AgentFrame, { type: "step-request" }>
type Answer = Pick<Extract<ServerFrame, { type: "step-result" }>, "reply"> & {
  readonly state?: "succeeded" | "failed"
  readonly denied?: true
  readonly outputs?: Record<string, string>
}

export function stepOf(kind: Partial<StepOrder>): StepOrder {
  const usual = { environment: {}, timeoutMilliseconds: 30_000, outputKeptBytes: 4096, attemptsMax: 1 }
  return { name: "step", ...usual, retryDelayMilliseconds: 0, ...kind }
}

export function taskOf(steps: StepOrder[], rest: Partial<TaskOrder> = {}): TaskOrder {
  return { save: [], steps, timeoutMilliseconds: 60_000, ...rest }
}

/**
 * A service that is a real process, as a script of /etc/init.d; its process number and its calls are kept outside the
 * root, which so can be compared as it is.
 */
const initScript = `#!/bin/sh
state="$SIGNALBOX_ROOT/../services/$(basename "$0")"
running() { [ -e "$state.pid" ] && kill -0 "$(cat "$state.pid")" 2>/dev/null; }
case "$1" in
  status) running || exit 3; exit 0 ;;
esac
echo "$1" >> "$state.calls"
stop() { running && kill -9 "$(cat "$state.pid")"; rm -f "$state.pid"; }
start() { running || { sleep 600 >/dev/null 2>&1 & echo $! > "$state.pid"; }; cat "$SIGNALBOX_ROOT/etc/web.conf" > "$state.conf" 2>/dev/null; }
case "$1" in
  start) start ;;
  stop) stop ;;
  restart) stop; start ;;
  reload) running || exit 1; cat "$SIGNALBOX_ROOT/etc/web.conf" > "$state.conf" ;;
esac
exit 0
`

/** A stand-in for Ansible, which is not part of this project: it shows its words and does what a playbook's first line says. */
const ansibleScript = `#!/bin/sh
echo "$@" >> "$SIGNALBOX_ROOT/../ansible.calls"
for last in "$@"; do :; done
previous=
for word in "$@"; do
  [ "$previous" = "-e" ] && cat "\${word#@}" > "$SIGNALBOX_ROOT/../ansible.variables"
  previous="$word"
done
sh "$last" || exit 2
echo "PLAY RECAP ****"
echo "localhost : ok=2 changed=1 unreachable=0 failed=0"
`

/** The directories of a node, with two services and some files. */
export function makeRoot(base: string): string {
  const root = join(base, "root")
  for (const path of ["root/etc/init.d", "root/etc/rc2.d", "services", "bin"])
    mkdirSync(join(base, path), { recursive: true })
  for (const name of ["web", "idle"]) writeFileSync(join(root, "etc/init.d", name), initScript, { mode: 0o755 })
  symlinkSync("../init.d/idle", join(root, "etc/rc2.d/S05idle"))
  writeFileSync(join(root, "etc/web.conf"), "old")
  chmodSync(join(root, "etc/web.conf"), 0o640)
  mkdirSync(join(root, "srv/tree/deep"), { recursive: true })
  writeFileSync(join(root, "srv/tree/deep/leaf"), "leaf")
  symlinkSync("deep/leaf", join(root, "srv/tree/link"))
  writeFileSync(join(base, "bin/ansible-playbook"), ansibleScript, { mode: 0o755 })
  return root
}

/** Type, mode, owner, content and target of every name below. */
export function treeOf(path: string): unknown {
  const stat = lstatSync(path)
  const rights = `${stat.mode.toString(8)} ${stat.uid}:${stat.gid}`
  if (stat.isSymbolicLink()) return `${rights} -> ${readlinkSync(path)}`
  if (stat.isFile()) return `${rights} ${createHash("sha256").update(readFileSync(path)).digest("hex")}`
  if (!stat.isDirectory()) return rights
  return {
    rights,
    children: readdirSync(path)
      .toSorted()
      .map((name) => [name, treeOf(join(path, name))]),
  }
}

export function isServiceRunning(base: string, name: string): boolean {
  const file = join(base, "services", `${name}.pid`)
  if (!existsSync(file)) return false
  try {
    const stat = readFileSync(`/proc/${readFileSync(file, "utf8").trim()}/stat`, "utf8")
    return stat.split(") ")[1]?.[0] !== "Z"
  } catch {
    return false
  }
}

export function endServices(base: string): void {
  for (const name of readdirSync(join(base, "services"))) {
    if (!name.endsWith(".pid")) continue
    try {
      process.kill(Number(readFileSync(join(base, "services", name), "utf8")), "SIGKILL")
    } catch {
      continue // It has ended already.
    }
  }
}

export interface TestNode {
  readonly base: string
  readonly root: string
  readonly context: AttemptContext
  readonly frames: AgentFrame[]
  /** What the server makes of a step that it is asked to perform; undefined: it says nothing. */
  answer: (request: StepRequest) => Answer | undefined
  run(order: TaskOrder, options?: RunOptions): Promise<{ key: string; outcome: TaskOutcome }>
  undo(key: string, secrets?: Record<string, string>): Promise<RollbackOutcome>
  look(): unknown
  journalText(): string
  remove(): void
}

export interface RunOptions {
  readonly secrets?: Record<string, string>
  /** Called with what aborts the task. */
  readonly onStop?: (stop: (reason: StopReason) => void) => void
}

/** What runs and undoes tasks, without the session around it. */
export async function makeNode(limits: Partial<AgentRunLimits> = {}): Promise<TestNode> {
  const base = mkdtempSync(join(tmpdir(), "signalbox kit "))
  const root = makeRoot(base)
  const dataDirectory = join(base, "data")
  mkdirSync(join(dataDirectory, "saved"), { recursive: true })
  const clock = { now: () => Date.now() }
  const journal = await Journal.open(join(dataDirectory, "journal"), clock)
  const frames: AgentFrame[] = []
  const send = (frame: AgentFrame): boolean => {
    frames.push(frame)
    if (frame.type === "step-request") setImmediate(() => reply(node, frame))
    return true
  }
  const context: AttemptContext = {
    ...{ root, dataDirectory, journal, clock, send, logger: silentLogger },
    uptime: machineUptime,
    random: { bytes: (count) => randomBytes(count) },
    limits: { ...agentRunLimits, terminateGraceMilliseconds: 300, waitPollMilliseconds: 20, ...limits },
    backedUp: () => false,
    serverNow: () => Date.now(),
    serverSteps: new ServerSteps(send),
    fetchArtifact: () => Promise.reject(new Error("this node has no server")),
  }
  const node: TestNode = {
    ...{ base, root, context, frames },
    answer: () => ({}),
    async run(order, { secrets = {}, onStop } = {}) {
      const key = newKey()
      await journal.append(key, { type: "accepted", phase: "task", startBefore: Date.now() + 60_000, order })
      const stop = new AbortController()
      onStop?.((reason) => stop.abort(reason))
      const outcome = await runTask({ context, key, order, secrets, stop: stop.signal })
      if (!outcome) throw new Error("the task was left to the next agent")
      await journal.append(key, { type: "finished", phase: "task", outcome })
      return { key, outcome }
    },
    async undo(key, secrets = {}) {
      const records = await journal.read(key)
      const [accepted] = records
      if (accepted?.type !== "accepted" || accepted.phase !== "task") throw new Error("no order")
      const { order } = accepted
      const started = journal.find(key)?.startedAt !== undefined
      const { signal } = new AbortController()
      const deeds = deedsOf(records, order)
      return await runRollback({ context, key, order, started, deeds, secrets, stop: signal })
    },
    look: () => ({ tree: treeOf(root), services: ["web", "idle"].map((name) => isServiceRunning(base, name)) }),
    journalText: () => {
      const names = readdirSync(journal.directory)
      return names.map((name) => readFileSync(join(journal.directory, name), "utf8")).join("")
    },
    remove: () => {
      endServices(base)
      spawnSync("chmod", ["-R", "u+rwX", base])
      rmSync(base, { recursive: true, force: true })
    },
  }
  return node
}

function reply({ answer, context }: TestNode, request: StepRequest): void {
  const given = answer(request)
  if (!given) return
  const { state = "succeeded", outputs, reply: body, denied } = given
  const { key, phase, step } = request
  const more = { ...(outputs && { outputs }), ...(denied && { denied }) }
  const result = { name: "call", state, attempts: 1, durationMilliseconds: 0, ...more }
  const frame = {
    type: "step-result",
    key,
    phase,
    step,
    try: request.try,
    result,
    ...(body && { reply: body }),
  } as const
  context.serverSteps.take(frame)
}
