import { type ChildProcess, spawn } from "node:child_process"
import { setTimeout as delay } from "node:timers/promises"
import { Agent, get } from "node:http"

/**
 * A web server as it stands behind a balancer: it takes requests, says by a file whether it wants more, and is not well
 * where there is the file etc/sick.
 */
export function webProgram(port: number): string {
  return `import { existsSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
const started = String(Date.now())
const server = createServer((request, response) => {
  const status = { "/ready": existsSync("srv/ready") ? 200 : 404, "/health": existsSync("etc/sick") ? 500 : 200 }
  const answer = () => response.writeHead(status[request.url] ?? 200).end(started)
  if (request.url.endsWith("/slow")) setTimeout(answer, 1500)
  else answer()
})
server.listen(${port}, "127.0.0.1", () => writeFileSync("run/web.loaded", ""))
`
}

/** HAProxy in the foreground; `log` is what it said. */
export class Balancer {
  readonly #child: ChildProcess
  #log = ""

  constructor(program: string, configurationPath: string) {
    this.#child = spawn(program, ["-db", "-f", configurationPath], { stdio: ["ignore", "pipe", "pipe"] })
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.setEncoding("utf8").on("data", (text: string) => (this.#log = (this.#log + text).slice(-8000)))
  }

  get log(): string {
    return this.#log
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  async end(): Promise<void> {
    if (!this.isRunning) return
    const ended = new Promise<void>((resolve) => this.#child.once("exit", () => resolve()))
    this.#child.kill("SIGKILL")
    await ended
  }
}

export interface Answer {
  /** Undefined where the connection failed. */
  readonly status: number | undefined
  readonly body: string
}

/** One request over a connection of its own. */
export async function ask(url: string): Promise<Answer> {
  const agent = new Agent({ keepAlive: false })
  return await new Promise((resolve) => {
    const request = get(url, { agent, timeout: 30_000 }, (response) => {
      let body = ""
      response.setEncoding("utf8").on("data", (text: string) => (body += text))
      response.once("error", (error) => resolve({ status: undefined, body: error.message }))
      response.once("end", () => resolve({ status: response.statusCode, body }))
    })
    request.once("timeout", () => request.destroy(new Error("no answer in time")))
    request.once("error", (error) => resolve({ status: undefined, body: error.message }))
  })
}

/** Asks all the addresses again and again, several at once, until told to stop; keeps what was not as it should be. */
export class RequestStream {
  readonly failures: string[] = []
  #count = 0
  #over = false
  readonly #loops: Promise<void>[]

  constructor(urls: readonly string[]) {
    this.#loops = urls.map((url) => this.#follow(url))
  }

  get count(): number {
    return this.#count
  }

  async end(): Promise<void> {
    this.#over = true
    await Promise.all(this.#loops)
  }

  async #follow(url: string): Promise<void> {
    while (!this.#over) {
      const { status, body } = await ask(url)
      this.#count += 1
      if (status !== 200) this.failures.push(`${url}: ${status ?? "no answer"} ${body}`)
      await delay(10)
    }
  }
}
