import { matchesTagQuery } from "@signalbox/contracts/fleet/tag-query"
import type { Sql } from "../../storage/database.ts"
import { readDefinitions } from "./definition-store.ts"
import { compileSilence, type Inhibitor, type Labels, type Silence, type SilenceSpec } from "./quiet.ts"
import { compileSignal, type CompiledSignal, type SignalSpec } from "./signal-spec.ts"

interface AccountSignals {
  readonly byId: ReadonlyMap<string, CompiledSignal>
  readonly silences: readonly Silence[]
  readonly inhibitors: readonly Inhibitor[]
}

const none: AccountSignals = { byId: new Map(), silences: [], inhibitors: [] }

/** Every signal and silence of the installation in memory; an account's are replaced whole when their version grows. */
export class SignalDirectory {
  readonly #sql: Sql
  readonly #accounts = new Map<string, AccountSignals>()

  constructor(sql: Sql) {
    this.#sql = sql
  }

  async load(account: string): Promise<void> {
    const signals = (await readDefinitions<SignalSpec>(this.#sql, "signals", account)).map(compileSignal)
    const silences = await readDefinitions<SilenceSpec>(this.#sql, "silences", account)
    this.#accounts.set(account, {
      byId: new Map(signals.map((signal) => [signal.id, signal])),
      silences: silences.map(compileSilence),
      inhibitors: signals.flatMap(({ name, spec: { inhibits } }) => (inhibits ? [{ name, ...inhibits }] : [])),
    })
  }

  hasSignals(account: string): boolean {
    return this.#of(account).byId.size > 0
  }

  find(account: string, signalId: string): CompiledSignal | undefined {
    return this.#of(account).byId.get(signalId)
  }

  /** Those that watch a node with these tags, by name. */
  matching(account: string, tags: Labels): CompiledSignal[] {
    return [...this.#of(account).byId.values()].filter(
      ({ nodes }) => nodes === undefined || matchesTagQuery(nodes, tags),
    )
  }

  silences(account: string): readonly Silence[] {
    return this.#of(account).silences
  }

  inhibitors(account: string): readonly Inhibitor[] {
    return this.#of(account).inhibitors
  }

  #of(account: string): AccountSignals {
    return this.#accounts.get(account) ?? none
  }
}
