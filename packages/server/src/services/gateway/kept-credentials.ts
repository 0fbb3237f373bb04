/**
 * What a service is shown, kept for a few seconds so that calls don't ask for it each time. While the secrets can't be
 * read for want of a database, the value of before is used for a while longer.
 */
import { hasCode } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import type { Clock } from "@signalbox/kernel/clock"
import type { HeaderPair } from "../../router/external-ports.ts"
import type { SecretReader } from "../../router/ports.ts"
import type { ServiceSpec } from "./store.ts"

const freshMilliseconds = 5_000
const keptMilliseconds = 300_000

interface CredentialsOptions {
  readonly account: string
  readonly credentials: NonNullable<ServiceSpec["credentials"]>
  readonly secrets: SecretReader
  readonly clock: Clock
}

export class KeptCredentials {
  readonly #options: CredentialsOptions
  #kept: { readonly value: HeaderPair; readonly at: number } | undefined
  #reading: Promise<HeaderPair> | undefined

  constructor(options: CredentialsOptions) {
    this.#options = options
  }

  get(): HeaderPair | Promise<HeaderPair> {
    const age = this.#kept ? this.#options.clock.now() - this.#kept.at : Infinity
    if (this.#kept && age >= 0 && age < freshMilliseconds) return this.#kept.value
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  async #read(): Promise<HeaderPair> {
    const { account, credentials, secrets, clock } = this.#options
    const now = clock.now()
    try {
      const found = (await secrets.read(account, [credentials.secret]))[credentials.secret]
      assert(found, "a secret that was read is there")
      const value = toHeader(credentials, found.value.trim())
      this.#kept = { value, at: now }
      return value
    } catch (error) {
      const isUsable = this.#kept && now - this.#kept.at < keptMilliseconds && hasCode(error, "storage.unavailable")
      if (this.#kept && isUsable) return this.#kept.value
      throw error
    }
  }
}

function toHeader(credentials: NonNullable<ServiceSpec["credentials"]>, value: string): HeaderPair {
  switch (credentials.kind) {
    case "bearer":
      return ["authorization", `Bearer ${value}`]
    case "basic":
      return ["authorization", `Basic ${Buffer.from(`${credentials.user}:${value}`).toString("base64")}`]
    case "header":
      return [credentials.header.toLowerCase(), value]
  }
}
