import { readFileSync } from "node:fs"
import { createClient, type Client } from "@signalbox/sdk/client"

/** A variable of the environment. */
export function setting(name: string, otherwise?: string): string {
  const value = process.env[name] ?? otherwise
  if (value === undefined) throw new Error(`set ${name}`)
  return value
}

/** The server that these variables name: SIGNALBOX_SERVER, SIGNALBOX_KEY, and SIGNALBOX_CA_FILE for one with a CA of its own. */
export function connect(): Client {
  const caFile = process.env["SIGNALBOX_CA_FILE"]
  return createClient({
    url: setting("SIGNALBOX_SERVER"),
    key: setting("SIGNALBOX_KEY"),
    ...(caFile === undefined ? {} : { caPem: readFileSync(caFile, "utf8") }),
  })
}

export function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
