import type { AnyOperation } from "@signalbox/contracts/operation"
import type { Egress } from "../egress/egress.ts"
import { createActionsService } from "../services/actions/service.ts"
import { createApprovalsService, sealedInputs } from "../services/approvals/service.ts"
import { createCatalogService, sealedOutputs } from "../services/catalog/service.ts"
import { createNotificationsService, sealedMessages } from "../services/notifications/service.ts"
import { createRulesService } from "../services/rules/service.ts"
import type { createSecretsService } from "../services/secrets/service.ts"
import { createTriggersService, sealedHookSecrets } from "../services/triggers/service.ts"
import type { Notifier } from "../storage/notifier.ts"
import { outboxChannel } from "../storage/dispatcher.ts"
import type { CompositionOptions } from "./options.ts"
import { lateCaller, lateExternal, type LateParts } from "./late-parts.ts"
import { makeNameFinders } from "./name-finders.ts"
import type { makeServices } from "./inner-services.ts"

/** Constructs the services that use what the others give. */
export function makeOuterServices(
  options: CompositionOptions,
  parts: ReturnType<typeof makeServices>,
  given: {
    readonly late: LateParts
    readonly operations: ReadonlyMap<string, AnyOperation>
    readonly egress: Egress
    readonly secrets: Awaited<ReturnType<typeof createSecretsService>>
    readonly notifier: Notifier
  },
) {
  const { database, clock, random, logger } = options
  const { late, egress, secrets, notifier } = given
  const eventsWritten = (): void => notifier.notify(outboxChannel)
  const notifications = createNotificationsService({
    ...{ database, clock, random, logger, egress },
    operations: lateCaller(late),
    secrets: secrets.reader,
    sealer: secrets.sealerFor(sealedMessages),
    publicUrl: options.publicUrl,
    ...(options.mail === undefined ? {} : { mail: options.mail }),
  })
  const approvals = createApprovalsService({
    ...{ database, clock, random, logger, notifier, eventsWritten, publicUrl: options.publicUrl },
    operations: lateCaller(late),
    standing: lateCaller(late),
    principals: parts.people,
    windows: parts.windows,
    freezes: parts.calendars,
    isCalendarOpen: (account, now) => !parts.calendars.isAnyClosed(account, now),
    sealer: secrets.sealerFor(sealedInputs),
    linkMac: secrets.macFor("answer links"),
    membersUrl: options.membersUrl ?? options.publicUrl,
    configurationChanged: parts.configurationChanged,
    signingKey: parts.signingKey,
  })
  const catalog = createCatalogService({
    ...{ database, clock, random, logger, notifier },
    principals: parts.people,
    sealer: secrets.sealerFor(sealedOutputs),
  })
  const triggers = createTriggersService({
    ...{ database, clock, random, logger, notifier, publicUrl: options.publicUrl, metrics: parts.metrics },
    operations: lateCaller(late),
    sealer: secrets.sealerFor(sealedHookSecrets),
    configurationChanged: parts.configurationChanged,
  })
  const rules = createRulesService({
    ...{ database, clock, random, logger, operations: given.operations, expanders: parts.expanders },
    ...{ caller: lateCaller(late), principals: parts.people, configurationChanged: parts.configurationChanged },
    ...{ existing: makeNameFinders(parts.table), external: lateExternal(late) },
  })
  const actions = createActionsService({
    ...{ database, clock, random, logger, eventsWritten, publicUrl: options.publicUrl, principals: parts.people },
    ...{ rules: rules.matcher, operations: lateCaller(late), standing: lateCaller(late) },
  })
  const outer = [notifications.service, approvals.service, catalog, triggers.service, rules.service, actions]
  return { approvals, triggers, rules, outer }
}
