import { AppError } from "@signalbox/kernel/app-error"
import { agentUnit } from "./agent-unit.ts"
import { quoteWord } from "./ssh.ts"

/**
 * What runs on the machines: texts for their /bin/sh. Each is safe to run again. Facts come back as lines `name=value`.
 */
export interface RemotePlaces {
  /** Where the program goes; relative to the home directory. Absent: /opt/signalbox as root, else ~/.local/lib/signalbox. */
  readonly prefix?: string
  /** The agent's data; relative likewise. Absent: where the agent keeps it by itself. */
  readonly data?: string
}

export interface RemoteFacts {
  /** False where the answer was cut off: nothing may be concluded from what is missing in it. */
  readonly isComplete: boolean
  readonly os: string
  readonly arch: string
  readonly isRoot: boolean
  /** The version of a Node.js that is installed there. */
  readonly node: string
  readonly hasTools: boolean
  readonly hasSystemd: boolean
  /** The program that is installed: its digest. */
  readonly program: string
  readonly hasRuntime: boolean
  readonly isRunning: boolean
  readonly identity?: { readonly node: string; readonly name: string; readonly serverUrl: string }
}

const placePattern = /^[A-Za-z0-9._ /@+-]{1,200}$/

/** A place goes into scripts and a unit: nothing in it may mean anything to them. @throws cli.usage */
export function checkPlace(option: string, place: string): string {
  if (!placePattern.test(place) || place.startsWith("-"))
    throw new AppError("cli.usage", `${option} takes a path of letters, digits, spaces and ._/@+-`)
  return place.replace(/\/+$/, "")
}

function preamble({ prefix, data }: RemotePlaces): string {
  return `set -eu
umask 022
cd "\${HOME:-/}" 2>/dev/null || cd /
uid=$(id -u)
prefix=${quoteWord(prefix ?? "")}
data=${quoteWord(data ?? "")}
if [ -z "$prefix" ]; then if [ "$uid" = 0 ]; then prefix=/opt/signalbox; else prefix="$HOME/.local/lib/signalbox"; fi; fi
if [ -z "$data" ]; then if [ "$uid" = 0 ]; then data=/var/lib/signalbox-agent; else data="$HOME/.local/share/signalbox-agent"; fi; fi
case "$prefix" in /*) ;; *) prefix="$PWD/$prefix" ;; esac
case "$data" in /*) ;; *) data="$PWD/$data" ;; esac
same() { [ "$(cat "$1")" = "$(cat "$2" 2>/dev/null)" ]; }
say() { printf '%s=%s\\n' "$1" "$2"; }
lock_field() { sed -n 's/.*"'"$1"'":"\\{0,1\\}\\([^",}]*\\).*/\\1/p' "$data/lock" 2>/dev/null || true; }
is_running() {
  pid=$(lock_field pid)
  [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null || return 1
  # After a crash or a reboot the number in the lock may be another process's.
  boot=$(lock_field bootId)
  [ -z "$boot" ] || [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id)" ] || return 1
  begun=$(lock_field startTime)
  [ -z "$begun" ] || [ "$begun" = "$(sed -n 's/.*) \\([^ ]* \\)\\{19\\}\\([0-9]*\\).*/\\2/p' "/proc/$pid/stat")" ]
}
`
}

/** Looks, and changes nothing. */
export function probeScript(places: RemotePlaces, runtime: string): string {
  return `${preamble(places)}
say os "$(uname -s)"
say arch "$(uname -m)"
say uid "$uid"
say node "$(node -p process.versions.node 2>/dev/null || true)"
if command -v tar >/dev/null && command -v gzip >/dev/null && command -v sed >/dev/null; then say tools yes; fi
if [ -d /run/systemd/system ]; then say systemd yes; fi
say program "$(sed -n 's/^# program //p' "$prefix/signalbox-agent" 2>/dev/null || true)"
if "$prefix/${runtime}/bin/node" --version >/dev/null 2>&1; then say runtime yes; fi
if is_running; then say running yes; fi
if [ -f "$data/identity.json" ]; then say identity "$(tr -d '\\n' < "$data/identity.json")"; fi
say complete yes
`
}

/** Takes an archive from standard input and puts it into its place at once. */
export function receiveScript(places: RemotePlaces, folder: string): string {
  return `${preamble(places)}
mkdir -p "$prefix"
part="$prefix/.${folder}.part"
rm -rf "$part"
mkdir "$part"
gzip -dc | tar -xf - -C "$part" -o
rm -rf "$prefix/${folder}"
mv "$part" "$prefix/${folder}"
say received ${folder}
`
}

export interface SettleOptions {
  readonly places: RemotePlaces
  readonly program: string
  /** The folder of the runtime that was sent; absent: the machine's own Node.js. */
  readonly runtime?: string
  /** Words after \`enroll\`, without the key, which comes by standard input; absent: enrolled already. */
  readonly enroll?: readonly string[]
  readonly service: boolean
}

/** Puts the command into its place, enrols, and starts the agent or a newer one. */
export function settleScript({ places, program, runtime, enroll, service }: SettleOptions): string {
  const node = runtime === undefined ? "$(command -v node)" : `$prefix/${runtime}/bin/node`
  return `${preamble(places)}
node="${node}"
"$node" --version >/dev/null || { echo "the Node.js of Signalbox does not run here (no glibc?)" >&2; exit 70; }
mkdir -p "$prefix"
command="$prefix/signalbox-agent"
changed=no
{
  printf '#!/bin/sh\\n# program %s\\n' ${program}
  printf 'export MALLOC_MMAP_THRESHOLD_=32768\\n'
  printf 'exec "%s" "%s" agent "$@"\\n' "$node" "$prefix/program-${program}/node_modules/signalbox/bin/signalbox.js"
} > "$command.part"
chmod 755 "$command.part"
if ! same "$command.part" "$command"; then changed=yes; fi
mv "$command.part" "$command"
${enroll === undefined ? "" : `"$command" enroll ${enroll.map(quoteWord).join(" ")} --key-file - --data "$data" >/dev/null\n`}${service ? serviceText : directText}
for old in "$prefix"/program-*; do
  if [ "$old" != "$prefix/program-${program}" ]; then rm -rf "$old"; fi
done
say identity "$(tr -d '\\n' < "$data/identity.json")"
say changed "$changed"
`
}

const serviceText = `unit=/etc/systemd/system/signalbox-agent.service
cat > "$unit.part" <<UNIT
${agentUnit('\\"$command\\" run --data \\"$data\\"').replaceAll('\\"', '"')}UNIT
if ! same "$unit.part" "$unit"; then changed=yes; fi
mv "$unit.part" "$unit"
systemctl daemon-reload
systemctl enable --quiet signalbox-agent.service
if [ $changed = yes ]; then systemctl restart signalbox-agent.service; else systemctl start signalbox-agent.service; fi`

const directText = `if [ $changed = yes ] && is_running; then
  kill "$pid"
  for _ in $(seq 30); do if is_running; then sleep 1; fi; done
fi
if ! is_running; then
  changed=yes
  touch "$data/agent.log" && chmod 600 "$data/agent.log"
  if command -v setsid >/dev/null; then setsid "$command" run --data "$data" >> "$data/agent.log" 2>&1 < /dev/null &
  else nohup "$command" run --data "$data" >> "$data/agent.log" 2>&1 < /dev/null & fi
fi`

/** What the probe said. */
export function readFacts(text: string): RemoteFacts {
  const facts = new Map(
    text.split("\n").map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  )
  const isYes = (name: string): boolean => facts.get(name) === "yes"
  const identity = readIdentityText(facts.get("identity"))
  return {
    isComplete: isYes("complete"),
    os: facts.get("os") ?? "",
    arch: facts.get("arch") ?? "",
    isRoot: facts.get("uid") === "0",
    node: facts.get("node") ?? "",
    hasTools: isYes("tools"),
    hasSystemd: isYes("systemd"),
    program: facts.get("program") ?? "",
    hasRuntime: isYes("runtime"),
    isRunning: isYes("running"),
    ...(identity === undefined ? {} : { identity }),
  }
}

function readIdentityText(text: string | undefined): RemoteFacts["identity"] {
  try {
    const { node, name, serverUrl } = JSON.parse(text ?? "") as Record<string, unknown>
    if (typeof node === "string" && typeof name === "string" && typeof serverUrl === "string")
      return { node, name, serverUrl }
  } catch {
    return undefined
  }
  return undefined
}
