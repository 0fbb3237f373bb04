import { newId } from "@signalbox/kernel/id"
import type { NewEvent } from "../../storage/outbox.ts"
import type { ActionState } from "./action-machine.ts"
import type { ActionsOptions } from "./options.ts"
import type { RunRow } from "./run-store.ts"

const types: Readonly<Partial<Record<ActionState, string>>> = {
  queued: "action.redriven",
  running: "action.started",
  held: "action.held",
  succeeded: "action.finished",
  cancelled: "action.cancelled",
  dead: "action.dead",
  stopped: "action.stopped",
}

type Told = Pick<
  RunRow,
  | "id"
  | "account"
  | "rule"
  | "operation"
  | "event"
  | "cause"
  | "causedBy"
  | "depth"
  | "version"
  | "started"
  | "requestUrl"
> & { readonly state: ActionState; readonly error?: RunRow["error"]; readonly redrives?: number }

/** What is told of a run that came to its state: one event for each of its versions. */
export function eventDataOf(run: Told): { readonly type: string; readonly data: Readonly<Record<string, unknown>> } {
  const { rule, operation, event, started, requestUrl, error, state, redrives } = run
  // Only what another rules service asks for is told of before it starts.
  const isNew = state === "queued" && redrives === 0
  return {
    type: isNew ? "action.queued" : (types[state] ?? "action.changed"),
    data: {
      ...{ rule, operation, event: event.id, eventType: event.type },
      ...(state === "succeeded" && started !== null ? { started } : {}),
      ...(state === "held" && requestUrl !== null ? { requestUrl } : {}),
      ...(error ? { code: error.code, reason: error.message } : {}),
    },
  }
}

export function runEvent({ clock, random }: Pick<ActionsOptions, "clock" | "random">, run: Told): NewEvent {
  const { id, account, cause, causedBy, depth, version, rule } = run
  return {
    ...{ id: newId("event", clock, random), account, aggregateId: id, ...eventDataOf(run), subject: id },
    ...{ subjectVersion: version, cause, causedBy, depth, principal: `rule:${rule}` },
  }
}
