import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { renderRecording } from "./recording/render-recording.ts"
import { type Frame, TerminalScreen } from "./recording/terminal-screen.ts"
import { openRepository } from "./repository.ts"
import { runCommand } from "./run-command.ts"

/**
 * Records a real run of the demo on a terminal and writes it as docs/images/rollout.svg: `node tools/record-rollout.ts`.
 * `script` of util-linux gives the terminal and the time of every byte.
 */
const columns = 82
const rows = 34
const frameSeconds = 0.15
const holdSeconds = 6
/** The recording begins with the first run: starting a fleet is no sight. */
const firstWords = "1. v2 for 12 nodes"

const repository = await openRepository()
const directory = await mkdtemp(join(tmpdir(), "signalbox-recording-"))
try {
  const program = join(repository.root, "packages", "cli", "bin", "signalbox.js")
  const command = `stty cols ${columns} rows ${rows}; '${process.execPath}' '${program}' demo`
  const output = join(directory, "output")
  const timing = join(directory, "timing")
  const { status, stderr } = await runCommand(["script", "-q", "-e", "-O", output, "-T", timing, "-c", command], {
    directory: repository.root,
  })
  if (status !== 0) throw new Error(`the demo ended with ${status}\n${stderr}`)
  const frames = readFrames(await readFile(output), await readFile(timing, "utf8"))
  const path = join(repository.root, "docs", "images", "rollout.svg")
  await mkdir(join(repository.root, "docs", "images"), { recursive: true })
  await writeFile(path, renderRecording(frames, { columns, rows, holdSeconds }))
  console.log(`${frames.length} frames, written to ${path}`)
} finally {
  await rm(directory, { recursive: true })
}

/** Frames of the terminal from the first words on; `timing` has lines of seconds since the last one, and bytes. */
function readFrames(output: Buffer, timing: string): Frame[] {
  const screen = new TerminalScreen(columns, rows)
  const text = output.subarray(output.indexOf("\n") + 1)
  const frames: Frame[] = []
  let offset = 0
  let now = 0
  let begun: number | undefined
  for (const line of timing.trim().split("\n")) {
    const [seconds, bytes] = line.split(" ").map(Number)
    const last = frames.at(-1)
    now += seconds ?? 0
    if (begun !== undefined && now - begun - (last?.at ?? -1) >= frameSeconds)
      frames.push({ at: now - begun, lines: screen.lines() })
    screen.write(text.subarray(offset, offset + (bytes ?? 0)))
    offset += bytes ?? 0
    if (begun === undefined && text.subarray(0, offset).includes(firstWords)) begun = now
  }
  return [...frames, { at: now - (begun ?? now) + frameSeconds, lines: screen.lines() }]
}
