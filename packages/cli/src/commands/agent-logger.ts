import type { Io } from "../io.ts"
import { safeLine } from "../output/safe-text.ts"

type Fields = Readonly<Record<string, unknown>>

/** The agent's messages on standard error: JSON lines with --json, else lines for people. */
export function lineLogger(io: Io, json: boolean) {
  const write =
    (level: string) =>
    (message: string, fields: Fields = {}) => {
      const time = new Date().toISOString()
      const facts = Object.entries(fields)
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
      const line = json
        ? JSON.stringify({ time, level, message, ...fields })
        : safeLine([time, level, message, ...facts].join(" "))
      io.stderr.write(`${line}\n`)
    }
  return { info: write("info"), warn: write("warn"), error: write("error") }
}
