import type { Clock } from "@signalbox/kernel/clock"
import type { Logger } from "pino"
import type { Service } from "../../router/handler.ts"
import type { UseRecorder } from "../../router/ports.ts"
import type { Database } from "../../storage/database.ts"
import { removalTask } from "../../storage/removal-task.ts"
import { BufferedUses } from "./use-recorder.ts"

const keptMilliseconds = 30 * 86_400_000

/** Keeps who used what: the seed of metering. */
export function createMeteringService(options: {
  readonly database: Database
  readonly clock: Clock
  readonly logger: Logger
}): { readonly service: Service; readonly uses: UseRecorder } {
  const uses = new BufferedUses(options.database, options.logger)
  const retention = removalTask({
    name: "metering.uses-retention",
    cron: "17 * * * *",
    keptMilliseconds,
    now: () => options.clock.now(),
    statement: `delete from uses where id in (
      select id from uses where used_at < to_timestamp($1::float8 / 1000) order by used_at limit $2) returning id`,
  })
  return { service: { name: "metering", handlers: [], cronTasks: [retention], stop: () => uses.stop() }, uses }
}
