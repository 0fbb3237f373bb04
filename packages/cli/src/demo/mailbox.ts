import type { AddressInfo } from "node:net"
import { setTimeout as delay } from "node:timers/promises"
import { AppError } from "@signalbox/kernel/app-error"
import type { SMTPServer } from "smtp-server"
import { demoLimits } from "./demo-plan.ts"

/** A mail as it came over SMTP. */
export interface Mail {
  readonly to: readonly string[]
  /** Headers and body, decoded. */
  readonly text: string
  /** When it was here, in milliseconds since 1970. */
  readonly at: number
}

/** The mail server of the demo's members, on this machine: real SMTP, and nothing leaves the machine. */
export class Mailbox {
  readonly mails: Mail[] = []
  #server: SMTPServer | undefined
  #url = ""

  async listen(): Promise<void> {
    const { SMTPServer } = await import("smtp-server")
    const server = new SMTPServer({
      authOptional: true,
      disabledCommands: ["AUTH", "STARTTLS"],
      size: mailBytesMax,
      onData: (stream, session, done) => {
        const chunks: Buffer[] = []
        stream.on("data", (chunk: Buffer) => chunks.push(chunk))
        stream.on("end", () => {
          const to = session.envelope.rcptTo.map(({ address }) => address)
          this.mails.push({ to, text: decode(Buffer.concat(chunks).toString()), at: Date.now() })
          done()
        })
      },
    })
    server.on("error", () => undefined)
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()))
    this.#server = server
    this.#url = `smtp://127.0.0.1:${(server.server.address() as AddressInfo).port}`
  }

  get url(): string {
    return this.#url
  }

  /** The link in the newest mail to an address that says all of this. @throws demo.part-failed */
  async waitForLink(address: string, says: readonly string[], signal: AbortSignal): Promise<string> {
    const { text } = await this.#wait(address, (mail) => containsAll(mail, says) && linkPattern.test(mail), signal)
    return linkPattern.exec(text)?.[0] ?? ""
  }

  /** The newest mail to an address that says all of this. @throws demo.part-failed */
  waitForMail(address: string, says: readonly string[], signal: AbortSignal): Promise<Mail> {
    return this.#wait(address, (mail) => containsAll(mail, says), signal)
  }

  async #wait(address: string, fits: (text: string) => boolean, signal: AbortSignal): Promise<Mail> {
    const deadline = performance.now() + demoLimits.mailMilliseconds
    while (performance.now() < deadline) {
      signal.throwIfAborted()
      const mail = this.mails.findLast(({ to, text }) => to.includes(address) && fits(text))
      if (mail) return mail
      await delay(demoLimits.pollMilliseconds)
    }
    throw new AppError("demo.part-failed", `no mail for ${address} came in ${demoLimits.mailMilliseconds} ms`)
  }

  stop(): void {
    this.#server?.close(() => undefined)
  }
}

const containsAll = (text: string, parts: readonly string[]): boolean => parts.every((part) => text.includes(part))

const mailBytesMax = 1024 * 1024
const linkPattern = /https:\/\/[^\s"<>?]+\/answers\/[a-z0-9_-]+/

/** Of quoted-printable, which mails with long lines are written in. */
function decode(text: string): string {
  return text
    .replaceAll(/=\r?\n/g, "")
    .replaceAll(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}
