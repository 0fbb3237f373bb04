/**
 * What comes from outside into a run: what people wish, and whether its maintenance windows are open. Owns the wishes as
 * last read from the row; only the runner uses it.
 */
import { settingInputs, wishInputs } from "@signalbox/engine/recover"
import type { EngineInput, EngineState, Hold } from "@signalbox/engine/types"
import { toInstant } from "@signalbox/kernel/clock"
import type { WindowState } from "../../router/ports.ts"
import type { Wished } from "./claimed-execution.ts"

/** How soon a run notices that a window has opened, closed or changed. */
export const windowsPollMilliseconds = 1_000

export class RunSettings {
  readonly #account: string
  readonly #windows: WindowState
  #windowNames: readonly string[] = []
  #wished: Wished

  constructor(options: { readonly account: string; readonly windows: WindowState; readonly wished: Wished }) {
    this.#account = options.account
    this.#windows = options.windows
    this.#wished = options.wished
  }

  get wished(): Wished {
    return this.#wished
  }

  get hasWindows(): boolean {
    return this.#windowNames.length > 0
  }

  useWindows(names: readonly string[]): void {
    this.#windowNames = names
  }

  /** True where it is news. */
  hear(wished: Wished): boolean {
    if (wished.wishVersion <= this.#wished.wishVersion) return false
    this.#wished = wished
    return true
  }

  /** What leads from this state to what is wanted; nothing where it is so already. */
  inputs(state: EngineState, now: number): EngineInput[] {
    const { wish, wishWidth } = this.#wished
    const width = wishWidth ?? state.width
    const wanted = wishInputs(state, wish)
    // The first targets must not start before the run is held.
    return [...settingInputs(state, { width, hold: this.#holdAt(now) }), ...wanted]
  }

  #holdAt(now: number): Hold | null {
    if (!this.hasWindows) return null
    const { open, changesAt } = this.#windows.stateOf(this.#account, this.#windowNames, now)
    if (open) return null
    const names = this.#windowNames.join(", ")
    if (changesAt === null) return { reason: neverOpens(names), until: null }
    const windows =
      this.#windowNames.length === 1 ? `maintenance window ${names} is` : `maintenance windows ${names} are`
    return { reason: `${windows} closed until ${toInstant(changesAt)}`, until: changesAt }
  }
}

/** A window that was once, or is gone: nothing but a person helps. */
function neverOpens(names: string): string {
  return `no maintenance window of it opens again (${names}): apply one of that name, or abort the run`
}
