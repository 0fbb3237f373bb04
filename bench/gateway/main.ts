/**
 * wrk on an upstream of 200-byte replies, through the router with everything on (key, rules, use) and through proxies that do
 * less. One contender at a time, warmed up by 40,000 requests, in turns; beside requests a second the processor time that
 * each request costs the proxy, which is what a busy machine can't change.
 *
 * A contender that isn't installed or fails is told, and left out. `--only ours,nginx` takes these alone; `--rules N` gives
 * ours so many (1,000). `--realtime` runs everything ahead of whatever else the machine does (chrt, as root): with
 * `--once`, for about a minute.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { figuresOf, round, withPostgres, type Connection } from "../measure.ts"
import { callerOf, processorSecondsOfTree, startServerProcess } from "../server-process.ts"

const connections = 64
const secondsPerRun = 3
/**
 * Before anything is measured: servers run for weeks, and ours has compiled what runs hot only after some 12,000 calls, which
 * take one process one second and another four.
 */
const warmRequests = 40_000
const warmRounds = { seconds: 2, max: 15 }
const runs = process.argv.includes("--once") ? 1 : 5
const argumentOf = (name: string): string | undefined => {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? undefined : process.argv[at + 1]
}
const rulesCount = Number(argumentOf("rules") ?? 1_000)
const only = argumentOf("only")?.split(",")
const isRealtime = process.argv.includes("--realtime")
const ports = { upstream: 18_080, authenticator: 18_081, proxy: 18_090 }
const reply = "x".repeat(200)

interface Sample {
  readonly perSecond: number
  readonly p99Milliseconds: number
  readonly microsecondsPerRequest: number
}

/** Something that answers, to be measured: whose processor time counts, and where. */
interface Target {
  readonly processId: number
  readonly url: string
  readonly header?: string
  stop(): Promise<void>
}

function prefixed(command: string, args: readonly string[]): [string, string[]] {
  return isRealtime ? ["chrt", ["-f", "1", command, ...args]] : [command, [...args]]
}

function start(command: string, args: readonly string[]): ChildProcess {
  const [program, all] = prefixed(command, args)
  return spawn(program, all, { stdio: ["ignore", "ignore", "inherit"] })
}

/** What answers on a port before a contender is started would be measured in its place. */
async function startOn(port: number, command: string, args: readonly string[]): Promise<ChildProcess> {
  if (await isOpen(port)) throw new Error(`something listens on port ${port} already`)
  const child = start(command, args)
  const failed = new Promise<never>((_, reject) => {
    child.once("error", reject)
    child.once("exit", (code) => reject(new Error(`${command} ended with ${code} before it listened on port ${port}`)))
  })
  try {
    await Promise.race([failed, untilOpen(port)])
  } catch (error) {
    child.kill("SIGTERM")
    throw error
  }
  return child
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true))
    socket.once("error", () => resolve(false))
    socket.once("connect", () => socket.destroy())
  })
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return
  const ended = new Promise((resolve) => child.once("exit", resolve))
  child.kill("SIGTERM")
  await ended
}

async function untilOpen(port: number): Promise<void> {
  for (const end = Date.now() + 30_000; Date.now() < end;) {
    if (await isOpen(port)) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`nothing listens on port ${port}`)
}

function nginx(directory: string, name: string, server: string): { args: string[]; write: () => Promise<void> } {
  const path = join(directory, `${name}.conf`)
  const text = `daemon off; worker_processes 1; pid ${directory}/${name}.pid; error_log ${directory}/${name}.err;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 100000000; client_body_temp_path ${directory}; proxy_temp_path ${directory};
fastcgi_temp_path ${directory}; uwsgi_temp_path ${directory}; scgi_temp_path ${directory};
${server} }
`
  return { args: ["-c", path, "-p", directory], write: () => writeFile(path, text) }
}

const pass = `proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection "";`
const upstreamBlock = `upstream up { server 127.0.0.1:${ports.upstream}; keepalive 256; keepalive_requests 100000000; }`

const nginxConfigurations = {
  nginx: `${upstreamBlock} server { listen 127.0.0.1:${ports.proxy}; location / { ${pass} } }`,
  "nginx with auth_request, limit_req and access log": (directory: string) => `${upstreamBlock}
upstream auth { server 127.0.0.1:${ports.authenticator}; keepalive 256; keepalive_requests 100000000; }
limit_req_zone $http_authorization zone=calls:10m rate=1000000r/s;
log_format full '$remote_addr $request $status $body_bytes_sent $request_time';
server { listen 127.0.0.1:${ports.proxy}; access_log ${directory}/access.log full buffer=64k flush=1s;
location = /auth { internal; proxy_pass http://auth; proxy_http_version 1.1; proxy_set_header Connection "";
  proxy_pass_request_body off; proxy_set_header Content-Length ""; }
location / { auth_request /auth; limit_req zone=calls burst=100000 nodelay; ${pass} } }`,
}

async function startNginx(directory: string, name: string, server: string): Promise<Target> {
  const { args, write } = nginx(directory, name, server)
  await write()
  const child = await startOn(ports.proxy, "nginx", args)
  return { processId: child.pid ?? 0, url: `http://127.0.0.1:${ports.proxy}/things`, stop: () => stop(child) }
}

async function startHaproxy(directory: string): Promise<Target> {
  const path = join(directory, "haproxy.cfg")
  const lines = [
    "global",
    "  nbthread 1",
    "  maxconn 4096",
    "defaults",
    "  mode http",
    "  timeout connect 5s",
    "  timeout client 60s",
    "  timeout server 60s",
    "  http-reuse always",
    "frontend in",
    `  bind 127.0.0.1:${ports.proxy}`,
    "  default_backend up",
    "backend up",
    `  server one 127.0.0.1:${ports.upstream}`,
  ]
  await writeFile(path, `${lines.join("\n")}\n`)
  const child = await startOn(ports.proxy, "haproxy", ["-f", path])
  return { processId: child.pid ?? 0, url: `http://127.0.0.1:${ports.proxy}/things`, stop: () => stop(child) }
}

async function startNodeProxy(kind: string): Promise<Target> {
  const script = fileURLToPath(new URL("proxies.ts", import.meta.url))
  const args = [script, kind, String(ports.proxy), `http://127.0.0.1:${ports.upstream}`]
  const child = await startOn(ports.proxy, process.execPath, args)
  return { processId: child.pid ?? 0, url: `http://127.0.0.1:${ports.proxy}/things`, stop: () => stop(child) }
}

const listing = (operationId: string) => ({
  get: {
    operationId,
    parameters: [{ name: "page", in: "query", schema: { type: "string" } }],
    responses: { 200: { description: "ok" } },
  },
})

const thingsDocument = {
  openapi: "3.1.0",
  info: { title: "Things", version: "1" },
  paths: { "/things": listing("listThings"), "/others": listing("other") },
}

/** What gating rules ask about, and none of which is so: who calls, and the call's path, query and headers. */
const conditions: ReadonlyArray<(n: number) => string> = [
  (n) => `size(caller.roles) > ${1_000 + n}`,
  (n) => `caller.principal == "usr_${n}" && caller.kind == "user"`,
  (n) => `has(input.query.page) && input.query.page == "${n}"`,
  (n) => `"user-agent" in input.headers && input.headers["user-agent"].startsWith("bot-${n}/")`,
  (n) => `caller.roles.exists(role, role == "role-${n}") || caller.teams.exists(team, team == "team-${n}")`,
]

/** The service and the rules are published once; each run is another process on the same database. */
async function prepareOurs(connection: Connection, data: string): Promise<void> {
  const server = await startServerProcess({ connection, flags, data })
  const { call, close } = callerOf(server, 16)
  await call("services.put", {
    name: "bench",
    document: thingsDocument,
    upstreams: [{ url: `http://127.0.0.1:${ports.upstream}` }],
  })
  const putRule = async (n: number): Promise<void> => {
    const on = [{ operation: n % 2 === 0 ? "ext.bench.other" : "ext.bench.listThings", phase: "before" }]
    const when = conditions[Math.floor(n / 2) % conditions.length]?.(n)
    await call("rules.put", { name: `rule-${n}`, on, when, do: [{ deny: { reason: "never" } }] })
  }
  try {
    await Promise.all(Array.from({ length: rulesCount }, (_, n) => putRule(n)))
  } finally {
    await close()
    await server.stop()
  }
}

const flags = { "calls-per-second": "1000000", "egress-allow": "127.0.0.1" }

/** With the key checked, 1,000 rules of which none matches, and each call's use written down. */
async function startOurs(connection: Connection, data: string): Promise<Target> {
  const server = await startServerProcess({ connection, flags, data })
  const processId = server.process.pid ?? 0
  if (isRealtime) spawnSync("chrt", ["-f", "-a", "-p", "1", String(processId)])
  return {
    processId,
    url: `${server.url}/x/bench/things`,
    header: `Authorization: Bearer ${server.key}`,
    stop: () => server.stop(),
  }
}

function wrk(
  target: Pick<Target, "url" | "header">,
  seconds: number,
): { requests: number; p99: number; perSecond: number } {
  const header = target.header === undefined ? [] : ["-H", target.header]
  const args = ["-t1", `-c${connections}`, `-d${seconds}s`, "--latency", ...header, target.url]
  const { stdout, error } = spawnSync(...prefixed("wrk", args), { encoding: "utf8" })
  if (error) throw new Error(`wrk: ${error.message}; bench/setup installs it`)
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1] ?? 0)
  const perSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1] ?? 0)
  const [, value = "0", unit = "ms"] = /99%\s+([\d.]+)(us|ms|s)/.exec(stdout) ?? []
  const milliseconds = Number(value) * ({ us: 0.001, ms: 1, s: 1000 }[unit] ?? 1)
  if (/Non-2xx|Socket errors/.test(stdout) || requests === 0) throw new Error(`${target.url}: ${stdout}`)
  return { requests, p99: milliseconds, perSecond }
}

function measure(target: Target): Sample {
  for (let round = 0, requests = 0; round < warmRounds.max && requests < warmRequests; round++)
    requests += wrk(target, warmRounds.seconds).requests
  const before = processorSecondsOfTree(target.processId)
  const { requests, p99, perSecond } = wrk(target, secondsPerRun)
  const seconds = processorSecondsOfTree(target.processId) - before
  return { perSecond, p99Milliseconds: p99, microsecondsPerRequest: (seconds / requests) * 1e6 }
}

async function measuredAndStopped(target: Target): Promise<Sample> {
  try {
    return measure(target)
  } finally {
    await target.stop()
  }
}

const directory = await mkdtemp(join(tmpdir(), "signalbox-bench-gateway-"))
const answering = (port: number) => `server { listen 127.0.0.1:${port}; location / { return 200 "${reply}"; } }`
const upstreamServer = nginx(directory, "upstream", answering(ports.upstream) + answering(ports.authenticator))
await upstreamServer.write()
const upstream = await startOn(ports.upstream, "nginx", upstreamServer.args)
const samples = new Map<string, Sample[]>()
const failures: Record<string, string> = {}
try {
  await withPostgres(async (fresh) => {
    const database = await fresh()
    const data = join(directory, "data")
    const contenders: Array<[name: string, start: () => Promise<Target>]> = [
      ["ours", () => startOurs(database, data)],
      ["bare undici proxy", () => startNodeProxy("undici")],
      ["@fastify/http-proxy", () => startNodeProxy("fastify")],
      ["http-proxy-middleware", () => startNodeProxy("middleware")],
      ["HAProxy", () => startHaproxy(directory)],
      ["nginx", () => startNginx(directory, "nginx", nginxConfigurations.nginx)],
      [
        "nginx with auth_request, limit_req and access log",
        () =>
          startNginx(
            directory,
            "full",
            nginxConfigurations["nginx with auth_request, limit_req and access log"](directory),
          ),
      ],
      [
        "upstream alone",
        () =>
          Promise.resolve({
            processId: upstream.pid ?? 0,
            url: `http://127.0.0.1:${ports.upstream}/things`,
            stop: () => Promise.resolve(),
          }),
      ],
    ]
    const taking = contenders.filter(([name]) => only?.includes(name) ?? true)
    if (taking.some(([name]) => name === "ours")) await prepareOurs(database, data)
    for (let run = 0; run < runs; run++) {
      for (const [name, startContender] of taking) {
        const sample = await startContender().then(measuredAndStopped).catch(String)
        if (typeof sample === "string") {
          failures[name] = sample
          process.stderr.write(`run ${run + 1}: ${name} failed: ${sample}\n`)
          continue
        }
        samples.set(name, [...(samples.get(name) ?? []), sample])
        const { perSecond, microsecondsPerRequest, p99Milliseconds } = sample
        process.stderr.write(
          `run ${run + 1}: ${name}: ${round(perSecond)}/s, ${round(microsecondsPerRequest)} us of processor time a request, p99 ${round(p99Milliseconds)} ms\n`,
        )
      }
    }
  })
} finally {
  await stop(upstream)
  await rm(directory, { recursive: true, force: true })
}

/** Null where the other one was not measured. */
function ratio(a: number, b: number): number | null {
  return b > 0 ? round(a / b) : null
}

function rowOf(name: string) {
  const all = samples.get(name) ?? []
  const of = (member: keyof Sample) => figuresOf(all.map((sample) => sample[member]))
  return {
    ...of("perSecond"),
    microsecondsPerRequest: of("microsecondsPerRequest"),
    p99Milliseconds: of("p99Milliseconds").median,
  }
}
const ours = rowOf("ours")
const bare = rowOf("bare undici proxy")
const fastify = rowOf("@fastify/http-proxy")
const peers = [...samples.keys()].filter((name) => name !== "ours" && name !== "upstream alone")
const floor = rowOf("upstream alone")
process.stdout.write(
  `${JSON.stringify({
    bench: "gateway",
    runs,
    unit: "requests/s",
    connections,
    rules: rulesCount,
    ...(Object.keys(failures).length > 0 && { failures }),
    realtime: isRealtime,
    ours,
    peers: peers.map((name) => ({ name, ...rowOf(name) })),
    floor: { name: "the upstream alone: what no proxy can exceed", ...floor },
    ratioToFastifyHttpProxy: ratio(ours.median, fastify.median),
    processorTimeToBareUndici: ratio(ours.microsecondsPerRequest.median, bare.microsecondsPerRequest.median),
    addedP99Milliseconds: round(ours.p99Milliseconds - floor.p99Milliseconds),
  })}\n`,
)
process.exit(0)
