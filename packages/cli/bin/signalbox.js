#!/usr/bin/env node
// Kept to what old versions of Node understand: the first thing it does is to find a new enough one.
import { spawn } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const nodeMajorMin = 24
const words = process.argv.slice(2)

if (words.length === 1 && (words[0] === "--version" || words[0] === "-V")) {
  const manifest = new URL("../package.json", import.meta.url)
  process.stdout.write(`${JSON.parse(readFileSync(manifest, "utf8")).version}\n`)
} else if (Number(process.versions.node.split(".")[0]) >= nodeMajorMin) {
  const main = new URL("../dist/start.js", import.meta.url)
  if (existsSync(main)) await import(main.href)
  else fail("it is not compiled; run `npm run build` in the repository first")
} else {
  const node = findPinnedNode()
  if (node === undefined) {
    fail(
      `it needs Node.js ${nodeMajorMin} or newer and this is ${process.versions.node}; ` +
        `no runtime is bundled for ${process.platform}-${process.arch}, so install Node.js ${nodeMajorMin} from https://nodejs.org`,
    )
  } else runWith(node)
}

function findPinnedNode() {
  try {
    const manifest = createRequire(import.meta.url).resolve(`node-${process.platform}-${process.arch}/package.json`)
    const node = join(dirname(manifest), "bin", "node")
    return existsSync(node) ? node : undefined
  } catch {
    return undefined
  }
}

function runWith(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...words], { stdio: "inherit" })
  // A terminal sends Ctrl-C to both of us; a signal that only we got is passed on.
  const forwarded = ["SIGTERM", "SIGHUP", "SIGINT", "SIGUSR2"]
  for (const signal of forwarded) {
    process.on(signal, () => {
      if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal)
    })
  }
  child.on("error", (error) => fail(`the bundled Node.js can't be started: ${error.message}`))
  child.on("exit", (code, signal) => {
    if (signal === null) {
      process.exitCode = code ?? 70
      return
    }
    for (const name of forwarded) process.removeAllListeners(name)
    process.kill(process.pid, signal)
  })
}

function fail(reason) {
  process.stderr.write(`signalbox can't start: ${reason}\n`)
  process.exitCode = 70
}
