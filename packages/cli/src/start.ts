import { readFileSync } from "node:fs"
import { runCli } from "./run-cli.ts"

// The process of `signalbox`: joins the command line to the real streams and signals. Nothing imports this file.

const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string }

const lingerMilliseconds = 3_000

// A reader that left is noticed at the next write; without a listener it would be an uncaught exception.
process.stdout.on("error", () => undefined)
process.stderr.on("error", () => undefined)

process.exitCode = await runCli(
  process.argv.slice(2),
  {
    stdout: process.stdout,
    stderr: process.stderr,
    stdin: process.stdin,
    environment: process.env,
    onInterrupt: (listener) => listen(["SIGINT"], listener),
    onStop: (listener) => listen(["SIGINT", "SIGTERM"], listener),
  },
  manifest.version,
)

// What a command left open (a connection that hangs, say) does not keep the process.
setTimeout(() => process.exit(), lingerMilliseconds).unref()

function listen(signals: readonly NodeJS.Signals[], listener: () => void): () => void {
  for (const signal of signals) process.on(signal, listener)
  return () => {
    for (const signal of signals) process.removeListener(signal, listener)
  }
}
