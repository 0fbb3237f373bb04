/**
 * Hands over what a rules service that is not ours asked for when a call was carried out: each message by a call of
 * `actions.perform`, through the routing map as any other. A message that is handed over twice is one run.
 */
import { actionsPerform } from "@signalbox/contracts/actions/operations"
import { operationDoneType, type OperationDone } from "../../router/rule-ports.ts"
import type { Consumer } from "../../storage/dispatcher.ts"
import type { ActionsOptions } from "./options.ts"

export function messageConsumer({ operations }: Pick<ActionsOptions, "operations">): Consumer {
  return {
    name: "actions.messages",
    types: [operationDoneType],
    isWanted: ({ data }) => messagesOf(data).length > 0,
    async handle({ account, id, type, subject, cause, depth, data }) {
      const as = { account, service: "actions", roles: ["performer"], cause, causedBy: id, depth } as const
      for (const { rule, version, number, operation, targets, input, author } of messagesOf(data)) {
        const message = { rule, version, number, operation, targets: [...targets], input, author }
        await operations.call(actionsPerform, { ...message, trigger: { id, type, subject } }, as)
      }
    },
  }
}

const messagesOf = (data: unknown): NonNullable<OperationDone["messages"]> => (data as OperationDone).messages ?? []
