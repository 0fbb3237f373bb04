import { demoLimits, type Fault } from "./demo-plan.ts"

/**
 * The small real service that runs on each node of the demo: an HTTP server that reads its configuration when it
 * starts and only then, the script that starts and stops it, and the node's own check. All run in the node's root.
 */
export interface ServiceFile {
  readonly path: string
  readonly content: string | Uint8Array
  readonly mode: number
}

export const configurationPath = "etc/web.conf"

/** @example quoteShell("/a b/node") // "'/a b/node'" */
export function quoteShell(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

export function serviceFiles(node: {
  readonly port: number
  readonly version: string
  readonly fault: Fault
  /** The runtime that runs the service. */
  readonly node: string
}): ServiceFile[] {
  return [
    { path: configurationPath, mode: 0o640, content: configuration(node.version) },
    { path: "etc/site.json", mode: 0o600, content: `${JSON.stringify({ port: node.port, fault: node.fault })}\n` },
    { path: "bin/web.mjs", mode: 0o644, content: webService },
    { path: "bin/answers.mjs", mode: 0o644, content: answersProgram },
    { path: "bin/service", mode: 0o755, content: serviceScript(node.node) },
    { path: "bin/check", mode: 0o755, content: checkScript(node.node) },
  ]
}

/** Bytes that are no UTF-8, and no line break at the end: a restore that is nearly right shows. */
function configuration(version: string): Uint8Array {
  const text = `# caf\u00e9 web, written by hand\nversion=${version}\nworkers=2\n# last line without an end`
  return Buffer.from(text, "latin1")
}

const webService = `// A small web service. It reads its configuration when it starts and never again.
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"

const lines = readFileSync("etc/web.conf", "latin1").split("\\n").map((line) => line.split("="))
const { version, workers } = Object.fromEntries(lines)
const { port, fault } = JSON.parse(readFileSync("etc/site.json", "utf8"))
if (fault === "service-refuses-v2" && version === "v2") {
  process.stderr.write("this machine is too old for v2\\n")
  process.exit(1)
}
const started = process.pid + "-" + Date.now()
const healthy = Number(workers) > 0
const answer = healthy ? version + "\\n" : version + " has no workers\\n"
const server = createServer((request, response) => {
  response.writeHead(healthy ? 200 : 503, { "content-type": "text/plain", "x-started": started })
  response.end(answer)
})
server.keepAliveTimeout = 30_000
let triesLeft = 50
const listen = () => server.listen(port, "127.0.0.1")
server.on("error", (error) => {
  if (error.code !== "EADDRINUSE" || triesLeft-- === 0) throw error
  setTimeout(listen, 50)
})
server.on("listening", () => {
  writeFileSync("run/ready.new", started)
  renameSync("run/ready.new", "run/ready")
})
setTimeout(listen, ${demoLimits.serviceWarmUpMilliseconds})
process.on("SIGTERM", () => {
  rmSync("run/ready", { force: true })
  process.exit(0)
})
setInterval(() => existsSync("bin/web.mjs") || process.exit(0), 1_000)
`

const answersProgram = `// Does the service of this machine answer with this version?
import { readFileSync } from "node:fs"
import { get } from "node:http"

const wanted = process.argv[2]
const { port } = JSON.parse(readFileSync("etc/site.json", "utf8"))
const say = (text, code) => {
  process.stdout.write(text + "\\n")
  process.exitCode = code
}
get({ host: "127.0.0.1", port, path: "/", timeout: 5_000 }, async (response) => {
  let text = ""
  for await (const chunk of response) text += chunk
  const right = response.statusCode === 200 && text.trim() === wanted
  say("HTTP " + response.statusCode + ": " + text.trim(), right ? 0 : 1)
}).on("error", (error) => say("no answer: " + error.message, 1))
`

/** `log/starts` gets a line for every start: how often the service was restarted, told by nobody but itself. */
function serviceScript(node: string): string {
  return `#!/bin/sh
# service start|stop|restart: the web service of this machine
node=${quoteShell(node)}
mkdir -p run log

stop() {
  pid=$(cat run/pid 2>/dev/null) || return 0
  kill "$pid" 2>/dev/null
  tries=0
  while [ -f run/ready ] && kill -0 "$pid" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -gt 200 ] && { kill -9 "$pid" 2>/dev/null; break; }
    sleep 0.02
  done
  rm -f run/pid run/ready
}

start() {
  echo start >> log/starts
  "$node" --max-old-space-size=16 --max-semi-space-size=1 "$PWD/bin/web.mjs" < /dev/null > log/web.log 2>&1 &
  pid=$!
  echo "$pid" > run/pid
  tries=0
  while [ ! -f run/ready ]; do
    tries=$((tries + 1))
    if ! kill -0 "$pid" 2>/dev/null || [ "$tries" -gt 500 ]; then
      echo "the service didn't start: $(tail -n 1 log/web.log)" >&2
      rm -f run/pid
      exit 1
    fi
    sleep 0.02
  done
}

case "$1" in
  start) start ;;
  stop) stop ;;
  restart) stop; start ;;
  *) echo "usage: service start|stop|restart" >&2; exit 2 ;;
esac
`
}

function checkScript(node: string): string {
  return `#!/bin/sh
# check VERSION: this machine's own acceptance test
case "$(cat etc/site.json)" in
  *check-refuses-v2*) [ "$1" = v2 ] && { echo "this machine's own check refuses v2" >&2; exit 1; } ;;
esac
exec ${quoteShell(node)} bin/answers.mjs "$1"
`
}
