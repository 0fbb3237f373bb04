import { safeText } from "../output/safe-text.ts"
import { isFinished } from "./node-mark.ts"
import type { ExecutionUpdate } from "./rollout-fold.ts"

/** A line that doesn't end is printed in pieces of this length. */
const lineCharactersMax = 64 * 1024

/** What nodes print, as `node | line`, each line whole. One stream of one step of one node is read in order. */
export class NodeOutput {
  private readonly forTerminal: boolean
  private readonly names = new Map<number, string>()
  private readonly partial = new Map<string, string>()

  /** @param options `forTerminal` takes escape sequences out of what nodes print */
  constructor(options: { readonly forTerminal: boolean }) {
    this.forTerminal = options.forTerminal
  }

  text(update: ExecutionUpdate): string {
    for (const task of update.tasks) this.names.set(task.ordinal, task.nodeName)
    let text = ""
    for (const { ordinal, step, stream, text: chunk } of update.output) {
      const key = `${ordinal}/${step}/${stream}`
      const lines = ((this.partial.get(key) ?? "") + chunk).split("\n")
      const rest = lines.pop() ?? ""
      for (const line of lines) text += this.line(ordinal, line)
      if (rest.length < lineCharactersMax) this.partial.set(key, rest)
      else {
        this.partial.delete(key)
        text += this.line(ordinal, rest)
      }
    }
    for (const task of update.tasks) if (isFinished(task.state)) text += this.flush(task.ordinal)
    return text + this.failures(update)
  }

  /** Lines that never ended. */
  rest(): string {
    return [...new Set([...this.partial.keys()].map((key) => Number(key.split("/")[0])))]
      .map((ordinal) => this.flush(ordinal))
      .join("")
  }

  private flush(ordinal: number): string {
    let text = ""
    for (const [key, rest] of this.partial) {
      if (!key.startsWith(`${ordinal}/`)) continue
      this.partial.delete(key)
      if (rest !== "") text += this.line(ordinal, rest)
    }
    return text
  }

  /** Why a node has nothing (more) to print. */
  private failures(update: ExecutionUpdate): string {
    return update.tasks
      .filter(({ state }) => isFinished(state) && state !== "succeeded" && state !== "never-started")
      .map((task) => `${task.nodeName} ! ${task.state}${task.message ? `: ${safeText(task.message)}` : ""}\n`)
      .join("")
  }

  private line(ordinal: number, line: string): string {
    const text = line.replace(/\r$/, "")
    return `${this.names.get(ordinal) ?? ordinal} | ${this.forTerminal ? safeText(text) : text}\n`
  }
}
