/**
 * Every registered service of the installation in memory. An account's services are replaced when their version grows; one
 * whose row is the same stays, with its connections. What is replaced takes no more calls and ends with those it has.
 */
import { isAppError } from "@signalbox/kernel/app-error"
import type { Clock } from "@signalbox/kernel/clock"
import type { Logger } from "pino"
import type { Egress } from "../../egress/egress.ts"
import { insertPassedChanges } from "../../router/change-record.ts"
import type { ExternalOperation, ExternalServices, FoundExternal, PassedChange } from "../../router/external-ports.ts"
import type { SecretReader } from "../../router/ports.ts"
import { BufferedRows } from "../../storage/buffered-rows.ts"
import type { ConfigurationListener } from "../../storage/configuration-versions.ts"
import type { Sql } from "../../storage/database.ts"
import { HealthWatch } from "./health-watch.ts"
import { RegisteredService } from "./registered-service.ts"
import { readServices, type ServiceRow } from "./store.ts"

export const servicesComponent = "gateway.services"

const retireMilliseconds = 60_000

interface DirectoryOptions {
  readonly serverId: string
  readonly sql: Sql
  readonly clock: Clock
  readonly logger: Logger
  readonly egress: Egress
  readonly secrets: SecretReader
}

interface Kept {
  readonly service: RegisteredService
  readonly watch: HealthWatch
}

export class ServiceDirectory implements ExternalServices, ConfigurationListener {
  readonly component = servicesComponent
  readonly serverId: string
  readonly #options: DirectoryOptions
  readonly #passed: BufferedRows<PassedChange>
  readonly #accounts = new Map<string, ReadonlyMap<string, Kept>>()

  constructor(options: DirectoryOptions) {
    this.#options = options
    this.serverId = options.serverId
    const { sql, logger } = options
    this.#passed = new BufferedRows("audit records", (batch) => insertPassedChanges(sql, batch), logger)
  }

  async load(account: string): Promise<void> {
    const before = this.#accounts.get(account) ?? new Map<string, Kept>()
    const next = new Map<string, Kept>()
    for (const row of await readServices(this.#options.sql, account)) {
      const kept = before.get(row.name)
      const isSame = kept?.service.row.id === row.id && kept.service.row.version === row.version
      const known = isSame ? kept : this.#make(row)
      if (known) next.set(row.name, known)
    }
    this.#accounts.set(account, next)
    for (const [name, kept] of before) if (next.get(name) !== kept) this.#retire(kept)
  }

  find(account: string, service: string): RegisteredService | undefined {
    return this.#accounts.get(account)?.get(service)?.service
  }

  findOperation(account: string, name: string): FoundExternal | undefined {
    const service = this.find(account, /^ext\.([^.]+)\./.exec(name)?.[1] ?? "")
    const operation = service?.operations.get(name)
    return service && operation && { service, operation }
  }

  list(account: string): readonly ExternalOperation[] {
    return [...(this.#accounts.get(account)?.values() ?? [])].flatMap(({ service }) => [...service.operations.values()])
  }

  recordPassed(change: PassedChange): void {
    this.#passed.add(change)
  }

  async stop(): Promise<void> {
    const all = [...this.#accounts.values()].flatMap((services) => [...services.values()])
    this.#accounts.clear()
    for (const { watch } of all) watch.stop()
    await Promise.all(all.map(({ service }) => service.destroy()))
    await this.#passed.stop()
  }

  /** Another version of the program may have written what this one can't read: then the service is not there. */
  #make(row: ServiceRow): Kept | undefined {
    try {
      const service = new RegisteredService(row, this.#options)
      const watch = new HealthWatch(service)
      watch.start()
      return { service, watch }
    } catch (error) {
      if (!isAppError(error)) throw error
      this.#options.logger.error(
        { err: error, service: row.name },
        "a registered service can't be read; it is not there",
      )
      return undefined
    }
  }

  /** A call that was let in a moment ago still goes to where it was let in. */
  #retire({ service, watch }: Kept): void {
    watch.stop()
    setTimeout(() => this.#close(service), retireMilliseconds).unref()
  }

  #close(service: RegisteredService): void {
    service.retire().catch((error: unknown) => {
      this.#options.logger.warn({ err: error, service: service.name }, "closing connections to a service failed")
    })
  }
}
