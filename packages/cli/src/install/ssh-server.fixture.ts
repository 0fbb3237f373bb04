import { type ChildProcess, spawn } from "node:child_process"
import { generateKeyPairSync, type KeyObject } from "node:crypto"
import type { AddressInfo } from "node:net"
import ssh2 from "ssh2"

/**
 * A machine that is reached by ssh: a real SSH server on a port of loopback, whose shell is this machine's /bin/sh with a
 * home of its own. The client is the system's `ssh`.
 */
export class SshMachine {
  readonly home: string
  readonly path: string
  readonly commands: string[] = []
  readonly #server: ssh2.Server
  readonly #children = new Set<ChildProcess>()
  readonly #clients = new Set<ssh2.Connection>()
  port = 0

  constructor(options: {
    readonly home: string
    readonly path: string
    readonly hostKey: string
    readonly userKey: string
  }) {
    this.home = options.home
    this.path = options.path
    const allowed = ssh2.utils.parseKey(options.userKey)
    if (allowed instanceof Error) throw allowed
    this.#server = new ssh2.Server({ hostKeys: [options.hostKey] }, (client) => {
      this.#clients.add(client)
      client.on("error", () => undefined)
      client.on("close", () => this.#clients.delete(client))
      client.on("authentication", (context) => {
        if (context.method !== "publickey" || !context.key.data.equals(allowed.getPublicSSH()))
          return context.reject(["publickey"])
        const { signature, blob } = context
        if (!signature || !blob || allowed.verify(blob, signature, context.hashAlgo) === true) return context.accept()
        context.reject()
      })
      client.on("session", (accept) => {
        accept().on("exec", (acceptExec, _reject, { command }) => this.#run(command, acceptExec()))
      })
    })
  }

  async listen(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#server.listen(0, "127.0.0.1", resolve)
    await promise
    this.port = (this.#server.address() as AddressInfo).port
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.end()
    for (const child of this.#children) child.kill("SIGKILL")
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#server.close(() => resolve())
    await promise
  }

  #run(command: string, channel: ssh2.ServerChannel): void {
    this.commands.push(command)
    const environment = { HOME: this.home, PATH: this.path, LANG: "C.UTF-8" }
    const child = spawn("/bin/sh", ["-c", command], { cwd: this.home, env: environment, stdio: "pipe" })
    this.#children.add(child)
    child.stdin.on("error", () => undefined)
    channel.pipe(child.stdin)
    child.stdout.pipe(channel, { end: false })
    child.stderr.pipe(channel.stderr, { end: false })
    // All of its output has been read by then; what a script started in the background and left has none of it.
    child.once("close", (code) => {
      this.#children.delete(child)
      channel.exit(code ?? 1)
      channel.end()
    })
  }
}

export interface SshKeyPair {
  /** As OpenSSH reads it. */
  readonly privateKey: string
  readonly publicKey: string
}

/** An ECDSA key in the form that both sides read. */
export function makeSshKey(): SshKeyPair {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const pem = toPem(privateKey)
  const parsed = ssh2.utils.parseKey(pem)
  if (parsed instanceof Error) throw parsed
  return { privateKey: pem, publicKey: `${parsed.type} ${parsed.getPublicSSH().toString("base64")}` }
}

function toPem(key: KeyObject): string {
  return key.export({ type: "sec1", format: "pem" }).toString()
}
