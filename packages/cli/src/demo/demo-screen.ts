import { styleText } from "node:util"
import { hasColour, type Screen } from "../io.ts"
import { PlainRollout } from "../rollout/plain-rollout.ts"
import { renderRollout } from "../rollout/render-rollout.ts"
import { type ExecutionUpdate, RolloutFold } from "../rollout/rollout-fold.ts"

const redrawMilliseconds = 80
const rowsMax = 24

/**
 * Where the demo tells its story: a live picture on a terminal, plain lines in a pipe; with --json on standard error,
 * so that standard output has the last line alone. A reader that left is no reason to stop halfway.
 */
export class DemoScreen {
  readonly #screen: Screen
  readonly #colour: boolean

  constructor(screen: Screen) {
    this.#screen = screen
    this.#colour = hasColour(screen, process.env)
  }

  line(text = ""): void {
    this.#screen.write(`${text}\n`)
  }

  title(text: string): void {
    this.line()
    this.line(this.paint("bold", text))
  }

  done(text: string): void {
    this.line(`  ${this.paint("green", "✓")} ${text}`)
  }

  paint(style: Parameters<typeof styleText>[0], text: string): string {
    return this.#colour ? styleText(style, text, { validateStream: false }) : text
  }

  /** Follows one run. `outside` is what the prober sees at the moment, below the picture. */
  async rollout(outside: () => string): Promise<ShownRollout> {
    return this.#screen.isTTY === true ? livePicture(this.#screen, this.#colour, outside) : plainLines(this)
  }
}

export interface ShownRollout {
  update(update: ExecutionUpdate): void
  end(): void
}

function plainLines(screen: DemoScreen): ShownRollout {
  const plain = new PlainRollout()
  return {
    update: (update) => {
      for (const line of plain.lines(update)) screen.line(`  ${line}`)
    },
    end: () => undefined,
  }
}

async function livePicture(stream: Screen, colour: boolean, outside: () => string): Promise<ShownRollout> {
  const { createLogUpdate } = await import("log-update")
  const picture = createLogUpdate(stream as NodeJS.WriteStream)
  const fold = new RolloutFold()
  const draw = () => {
    const view = fold.view(Date.now())
    if (!view) return
    const columns = Math.max(40, (stream.columns ?? 80) - 2)
    const rows = Math.max(6, Math.min(rowsMax, (stream.rows ?? 24) - 4))
    const text = renderRollout(view, { columns, rows, colour })
    picture([...text.split("\n"), "", outside()].map((line) => `  ${line}`).join("\n"))
  }
  const timer = setInterval(draw, redrawMilliseconds)
  return {
    update: (update) => fold.apply(update, Date.now()),
    end: () => {
      clearInterval(timer)
      draw()
      picture.done()
    },
  }
}
