import type { Service } from "../../router/handler.ts"
import type { ApprovalGuards } from "../../router/forwarded-call.ts"
import type { GateFinder } from "../../router/gate-ports.ts"
import type {
  Authenticator,
  CallPlanner,
  ChangeFreezes,
  Mac,
  Sealer,
  StandingCaller,
  StandingRecord,
  WindowState,
} from "../../router/ports.ts"
import { answerHandlers } from "./answer-handlers.ts"
import { approvalClock } from "./approval-clock.ts"
import { createApprovalDirectory, type ApprovalDirectory } from "./approval-directory.ts"
import { associationHandlers } from "./association-handlers.ts"
import { approvalTasks, matchConsumer, peopleConsumer } from "./background.ts"
import { delegationHandlers } from "./delegation-handlers.ts"
import { groupHandlers } from "./group-handlers.ts"
import { createHeldGate } from "./held-gate.ts"
import { heldHandlers } from "./held-handlers.ts"
import { checkApproved, heldConsumer, heldSweep, heldTask } from "./held-runner.ts"
import type { ApprovalsContext, ApprovalsOptions } from "./options.ts"
import { createLinkAuthenticator } from "./link-authenticator.ts"
import { linkHandlers } from "./link-handlers.ts"
import { noticesConsumer } from "./notices.ts"
import { requestHandlers } from "./request-handlers.ts"
import { RequestWaiters } from "./request-waiters.ts"
import { resultHandlers } from "./result-handlers.ts"
import { resultConsumer } from "./results.ts"
import { stepHandlers } from "./step-handlers.ts"
import { templateHandlers } from "./template-handlers.ts"

import { voteKeyHandlers } from "./vote-key-handlers.ts"
export { sealedInputs } from "./sealed-inputs.ts"
export { findTemplateNames } from "./template-store.ts"

export interface ApprovalsServiceOptions extends ApprovalsOptions {
  /** How calls that were held are planned again and run. */
  readonly standing: StandingCaller & StandingRecord & CallPlanner
  readonly windows: WindowState
  readonly freezes: ChangeFreezes
  readonly sealer: Sealer
  /** Signs the links in messages. */
  readonly linkMac: Mac
  /** Where members reach the answer pages: links begin with it. */
  readonly membersUrl: string
}

export interface ApprovalsService {
  readonly service: Service
  readonly directory: ApprovalDirectory
  readonly gates: GateFinder
  readonly guards: ApprovalGuards
  /** Knows the links in messages. */
  readonly authenticator: Authenticator
}

/** Who has to say yes to what: templates, groups, associations, requests, votes, and the calls that wait for them. */
export function createApprovalsService(options: ApprovalsServiceOptions): ApprovalsService {
  const { database, logger, notifier, operations, sealer, standing } = options
  const directory = createApprovalDirectory(database)
  const waiters = new RequestWaiters({
    ...{ sql: database, logger, notifier },
    scanMilliseconds: options.waitScanMilliseconds,
  })
  const context: ApprovalsContext = { ...options, directory, waiters }
  const clock = approvalClock(context)
  const held = { ...options, hint: (requestId: string) => waiters.changed(requestId) }
  return {
    service: {
      name: "approvals",
      handlers: [
        ...templateHandlers(context),
        ...groupHandlers(context),
        ...associationHandlers(context),
        ...requestHandlers(context),
        ...answerHandlers(context),
        ...resultHandlers(context),
        ...delegationHandlers(context),
        ...linkHandlers(context),
        ...voteKeyHandlers(context),
        ...stepHandlers(context),
        ...heldHandlers({ ...context, planner: standing, sealer }),
      ],
      consumers: [
        matchConsumer(context),
        peopleConsumer(context),
        resultConsumer(context),
        heldConsumer(held),
        noticesConsumer({ ...options, ...context }),
      ],
      tasks: [heldTask(held)],
      cronTasks: [...approvalTasks(context), heldSweep(held)],
      start: () => Promise.resolve(waiters.start()),
      stop: () => Promise.resolve(waiters.stop()),
      workers: clock,
    },
    directory,
    authenticator: createLinkAuthenticator(options.linkMac),
    guards: { checkApproved },
    gates: createHeldGate({ directory, operations, sealer, freezes: options.freezes }),
  }
}
