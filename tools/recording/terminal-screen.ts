/** Text of one style. */
export interface Run {
  readonly text: string
  readonly style: string
}

export interface Frame {
  /** Seconds since the first. */
  readonly at: number
  readonly lines: ReadonlyArray<readonly Run[]>
}

interface Cell {
  readonly character: string
  readonly style: string
}

const escape = String.fromCharCode(27)
/** CSI sequences with their parameters, and the two-character ones. */
const sequence = new RegExp(`^${escape}(?:\\[([?\\d;]*)([A-Za-z])|[^[])`)

const styles: Readonly<Record<string, string>> = {
  "1": "bold",
  "31": "red",
  "32": "green",
  "33": "yellow",
  "36": "cyan",
  "90": "gray",
}
const styleEnds: Readonly<Record<string, string>> = { "22": "bold", "39": "colour" }

/**
 * As much of a terminal as our own output needs: text, line feeds that scroll, cursor moves, erasing, colours.
 * What it doesn't know is an error, so that a recording is right or isn't made.
 */
export class TerminalScreen {
  readonly #columns: number
  readonly #rows: number
  readonly #decoder = new TextDecoder()
  #cells: Cell[][]
  #row = 0
  #column = 0
  #bold = false
  #colour = ""
  #rest = ""

  constructor(columns: number, rows: number) {
    this.#columns = columns
    this.#rows = rows
    this.#cells = Array.from({ length: rows }, () => [])
  }

  write(bytes: Uint8Array): void {
    let text = this.#rest + this.#decoder.decode(bytes, { stream: true })
    this.#rest = ""
    while (text !== "") {
      if (!text.startsWith(escape)) {
        const [character = ""] = text
        this.#put(character)
        text = text.slice(character.length)
        continue
      }
      const match = sequence.exec(text)
      if (!match) {
        this.#rest = text
        return
      }
      this.#control(match[2] ?? "", match[1] ?? "")
      text = text.slice(match[0].length)
    }
  }

  lines(): Run[][] {
    return this.#cells.map((cells) => {
      const runs: Array<{ text: string; style: string }> = []
      for (const { character, style } of cells) {
        const last = runs.at(-1)
        if (last && last.style === style) last.text += character
        else runs.push({ text: character, style })
      }
      return runs
    })
  }

  #put(character: string): void {
    if (character === "\r") this.#column = 0
    else if (character === "\n") this.#feed()
    else {
      if (this.#column >= this.#columns) {
        this.#column = 0
        this.#feed()
      }
      const cells = this.#cells[this.#row] ?? []
      while (cells.length < this.#column) cells.push({ character: " ", style: "" })
      cells[this.#column] = { character, style: [this.#bold ? "bold" : "", this.#colour].filter(Boolean).join(" ") }
      this.#column += 1
    }
  }

  #feed(): void {
    if (this.#row < this.#rows - 1) this.#row += 1
    else this.#cells = [...this.#cells.slice(1), []]
  }

  #control(name: string, parameters: string): void {
    const count = Number(parameters) || 1
    if (name === "A") this.#row = Math.max(0, this.#row - count)
    else if (name === "B") this.#row = Math.min(this.#rows - 1, this.#row + count)
    else if (name === "G") this.#column = count - 1
    else if (name === "K") this.#erase(parameters)
    else if (name === "m") for (const code of parameters.split(";")) this.#paint(code)
    else if (name !== "" && !parameters.startsWith("?")) throw new Error(`unknown sequence ESC[${parameters}${name}`)
  }

  #erase(parameters: string): void {
    const cells = this.#cells[this.#row] ?? []
    if (parameters === "2") cells.length = 0
    else cells.length = Math.min(cells.length, this.#column)
  }

  #paint(code: string): void {
    const ends = styleEnds[code]
    const style = styles[code]
    if (code === "0" || code === "") [this.#bold, this.#colour] = [false, ""]
    else if (ends === "bold") this.#bold = false
    else if (ends === "colour") this.#colour = ""
    else if (style === "bold") this.#bold = true
    else if (style !== undefined) this.#colour = style
    else throw new Error(`unknown style ${code}`)
  }
}
