/**
 * One command on 50 machines, as a person runs it: `signalbox exec` over 50 real agents (a process each, each with a
 * root of its own), Ansible with 50 forks and local connections, and parallel ssh where there is an sshd. All of them run
 * on this one machine, so what is compared is the work that each makes of it; a network would add its round trips.
 * Beside the clock it counts processor time, of everything that a contender keeps busy (our server, its database and the
 * agents; sshd), until a moment after the command: what agents do then is ours too.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { loadavg, tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { enrollAgent } from "@signalbox/agent/enroll"
import { figuresOf, round } from "../measure.ts"
import {
  callerOf,
  commandPath,
  processorSecondsOfTree,
  startServerProcess,
  type ServerProcess,
} from "../server-process.ts"
import { startSshd } from "./sshd.ts"

const hosts = 50
const runs = 5
const onlineSecondsMax = 120
/** Until agents have looked at what a task changed. */
const settleMilliseconds = 3_500

/** Seconds of a whole command, from its start to its end. */
function time(command: string, words: readonly string[], environment: Readonly<Record<string, string>> = {}): number {
  const begin = performance.now()
  const result = spawnSync(command, words, { encoding: "utf8", env: { ...process.env, ...environment } })
  const seconds = (performance.now() - begin) / 1000
  if (result.status !== 0) throw new Error(`${command} ended with ${result.status}: ${result.stdout}${result.stderr}`)
  return seconds
}

async function startAgents(server: ServerProcess, directory: string, caFile: string): Promise<ChildProcess[]> {
  const api = callerOf(server)
  const { key } = await api.call<{ key: string }>("enrollment-keys.create", { usesMax: hosts })
  const agents: ChildProcess[] = []
  for (let n = 0; n < hosts; n++) {
    const [root, data] = [join(directory, `host-${n}`, "root"), join(directory, `host-${n}`, "agent")]
    await mkdir(root, { recursive: true })
    await enrollAgent({ serverUrl: server.url, key, caFile, name: `host-${n}`, dataDirectory: data })
    const words = [commandPath, "agent", "run", "--data", data, "--root", root]
    agents.push(spawn(process.execPath, words, { stdio: "ignore" }))
  }
  for (const end = performance.now() + onlineSecondsMax * 1000; performance.now() < end; await delay(200)) {
    const { items } = await api.call<{ items: unknown[] }>("nodes.list", { state: "online", limit: hosts })
    if (items.length < hosts) continue
    await api.close()
    return agents
  }
  throw new Error(`not all agents were online after ${onlineSecondsMax} s`)
}

async function ansible(directory: string): Promise<{ version: string; run: () => number } | undefined> {
  const asked = spawnSync("ansible", ["--version"], { encoding: "utf8" })
  if (asked.status !== 0) {
    process.stderr.write("ansible is missing, so it is left out: run bench/setup\n")
    return undefined
  }
  const inventory = join(directory, "hosts.ini")
  const line = (n: number): string => `host-${n} ansible_connection=local ansible_python_interpreter=/usr/bin/python3\n`
  await writeFile(inventory, Array.from({ length: hosts }, (_, n) => line(n)).join(""))
  const words = ["all", "-i", inventory, "-f", String(hosts), "-m", "command", "-a", "true"]
  return {
    version: /\[core (\S+)\]/.exec(asked.stdout)?.[1] ?? "",
    run: () => time("ansible", words, { ANSIBLE_HOST_KEY_CHECKING: "0", ANSIBLE_NOCOLOR: "1" }),
  }
}

const directory = await mkdtemp(join(tmpdir(), "signalbox-bench-rollout-"))
const server = await startServerProcess({ tls: true, flags: { "calls-per-second": "1000000" } })
const sshd = await startSshd(directory)
let agents: ChildProcess[] = []
try {
  const caFile = join(directory, "ca.pem")
  await writeFile(caFile, server.caPem ?? "")
  agents = await startAgents(server, directory, caFile)
  const reach = ["--server", server.url, "--key", server.key, "--ca-file", caFile]
  const exec = ["exec", "--all", "--concurrency", String(hosts), ...reach, "--", "true"]
  const peer = await ansible(directory)
  const contenders: Record<string, () => number> = {
    ours: () => time(process.execPath, [commandPath, ...exec]),
    ...(peer ? { ansible: peer.run } : {}),
    ...(sshd ? { ssh: () => time("sh", ["-c", sshd.command(hosts)]) } : {}),
    floor: () => time("sh", ["-c", `seq ${hosts} | xargs -P ${hosts} -I{} true`]),
  }
  const seconds: Record<string, number[]> = {}
  const processor: Record<string, number[]> = {}
  for (let run = 0; run <= runs; run++) {
    for (const [name, once] of Object.entries(contenders)) {
      const before = processorSecondsOfTree(process.pid)
      const value = once()
      await delay(settleMilliseconds)
      const used = processorSecondsOfTree(process.pid) - before
      const load = loadavg()[0] ?? 0
      process.stderr.write(
        `run ${run}: ${name} ${round(value)} s, ${round(used)} s of processor time, load ${round(load)}\n`,
      )
      // The first is the first of the agents' lives, too.
      if (run === 0) continue
      ;(seconds[name] ??= []).push(value)
      ;(processor[name] ??= []).push(used)
    }
  }
  const of = (name: string) => ({
    ...figuresOf((seconds[name] ?? []).map((value) => hosts / value)),
    commandSeconds: figuresOf(seconds[name] ?? []).median,
    processorSeconds: figuresOf(processor[name] ?? []).median,
  })
  const ours = of("ours")
  const peers = [
    ...(peer ? [{ name: "ansible-core", version: peer.version, ...of("ansible") }] : []),
    ...(sshd ? [{ name: "xargs -P 50 ssh", version: sshd.version, ...of("ssh") }] : []),
  ]
  const best = Math.max(...peers.map(({ median }) => median))
  const floor = of("floor")
  const result = {
    bench: "rollout",
    runs,
    unit: "hosts/s, the whole command, all on one machine",
    hosts,
    ours,
    peers,
    floor: { name: "xargs -P 50 true: 50 processes and nothing else", ...floor },
    ratioToAnsible: peer ? round(ours.median / of("ansible").median) : null,
    ratioToAnsibleInProcessorTime: peer ? round(of("ansible").processorSeconds / ours.processorSeconds) : null,
    ratioToBestPeer: peers.length > 0 ? round(ours.median / best) : null,
    ratioToFloor: round(ours.median / floor.median),
  }
  process.stdout.write(`${JSON.stringify(result)}\n`)
} finally {
  for (const agent of agents) agent.kill("SIGTERM")
  sshd?.stop()
  await server.stop()
  await rm(directory, { recursive: true, force: true })
}
