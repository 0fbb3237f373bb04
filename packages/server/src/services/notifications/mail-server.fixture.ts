/** A mail server on a port that it keeps, that can be down, and can die between taking a mail and saying so. */
import { createServer, type AddressInfo, type Server, type Socket } from "node:net"

export interface TakenMail {
  readonly to: readonly string[]
  readonly messageId: string
  readonly text: string
  /** Whether the sender was told that it was taken. */
  readonly isAnswered: boolean
}

export class MailServer {
  readonly mails: TakenMail[] = []
  /** The connection is cut once the mail is in. */
  diesAfterData = false
  port = 0
  #server: Server | undefined
  readonly #sockets = new Set<Socket>()

  get url(): string {
    return `smtp://127.0.0.1:${this.port}`
  }

  /** Takes a port for good, and listens on it. */
  async start(): Promise<void> {
    const server = createServer((socket) => this.#serve(socket))
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject)
      server.listen(this.port, "127.0.0.1", resolve)
    })
    this.port = (server.address() as AddressInfo).port
    this.#server = server
  }

  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    for (const socket of this.#sockets) socket.destroy()
    if (server) await new Promise((resolve) => server.close(resolve))
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on("close", () => this.#sockets.delete(socket))
    socket.on("error", () => undefined)
    const say = (text: string): void => void socket.write(`${text}\r\n`)
    let to: string[] = []
    let data: string[] | undefined
    let rest = ""
    say("220 here")
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      const lines = (rest + chunk).split("\r\n")
      rest = lines.pop() ?? ""
      for (const line of lines) {
        if (data !== undefined && line !== ".") data.push(line)
        else if (data !== undefined) {
          this.#take(socket, { to, lines: data })
          ;[to, data] = [[], undefined]
        } else if (/^DATA/i.test(line)) {
          data = []
          say("354 go on")
        } else {
          const recipient = /^RCPT TO:<([^>]+)>/i.exec(line)?.[1]
          if (recipient !== undefined) to.push(recipient)
          say(/^QUIT/i.test(line) ? "221 bye" : "250 ok")
        }
      }
    })
  }

  #take(socket: Socket, { to, lines }: { readonly to: readonly string[]; readonly lines: readonly string[] }): void {
    const text = lines.join("\n")
    const isAnswered = !this.diesAfterData
    this.mails.push({ to, text, isAnswered, messageId: /^Message-ID: (.*)$/im.exec(text)?.[1] ?? "" })
    if (isAnswered) socket.write("250 taken\r\n")
    else socket.destroy()
  }
}
