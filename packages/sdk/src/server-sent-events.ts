import { AppError } from "@signalbox/kernel/app-error"

/** A message of an event stream (HTML standard, "server-sent events"). */
export interface ServerSentEvent {
  /** The id in force after this message. */
  readonly id?: string
  /** `message` unless the stream says otherwise. */
  readonly event: string
  readonly data: string
}

/** The most that one message may have, so that a broken stream can't fill the memory. */
export const eventCharactersMax = 16 * 1024 * 1024

/**
 * Reads messages out of the text of an event stream, cut anywhere. Comments and unknown fields are skipped, an
 * incomplete last message is dropped, as the standard says.
 */
export async function* readServerSentEvents(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  const decoder = new TextDecoder()
  const message = new EventBuilder()
  let rest = ""
  for await (const chunk of chunks) {
    rest += decoder.decode(chunk, { stream: true })
    // A carriage return at the very end may be the first half of a line end.
    const end = rest.endsWith("\r") ? rest.length - 1 : rest.length
    const lines = rest.slice(0, end).split(/\r\n|\n|\r/)
    rest = (lines.pop() ?? "") + rest.slice(end)
    if (rest.length > eventCharactersMax) throw tooLong()
    for (const line of lines) {
      const event = message.take(line)
      if (event) yield event
    }
  }
}

class EventBuilder {
  private id: string | undefined
  private event = ""
  private data: string[] = []
  private characters = 0

  /** The finished message where the line is the empty one that ends it. */
  take(line: string): ServerSentEvent | undefined {
    if (line === "") return this.finish()
    const colon = line.indexOf(":")
    const field = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1))
    if (field === "data") {
      this.characters += value.length
      if (this.characters > eventCharactersMax) throw tooLong()
      this.data.push(value)
    } else if (field === "event") this.event = value
    else if (field === "id" && !value.includes("\0")) this.id = value
    return undefined
  }

  private finish(): ServerSentEvent | undefined {
    const { data, event, id } = this
    this.data = []
    this.event = ""
    this.characters = 0
    if (data.length === 0) return undefined
    return { event: event === "" ? "message" : event, data: data.join("\n"), ...(id === undefined ? {} : { id }) }
  }
}

function tooLong(): AppError {
  return new AppError("request.internal", `the server sent a message of more than ${eventCharactersMax} characters`)
}
