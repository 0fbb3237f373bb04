import {
  approvalRequestsAbstain,
  approvalRequestsApprove,
  approvalRequestsDeny,
} from "@signalbox/contracts/approvals/answers"
import { eventsWatch } from "@signalbox/contracts/audit/operations"
import type { nodesInventory } from "@signalbox/contracts/fleet/operations"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import type { OutputOf } from "@signalbox/contracts/operation"
import { readableDocument } from "../output/cell-text.ts"
import { renderDetails } from "../output/details.ts"
import { renderExecution } from "../output/render-execution.ts"
import type { OperationOverride } from "./operation-override.ts"
import { runOperation } from "./run-operation.ts"
import { renderEvent } from "../output/render-event.ts"
import { renderInbox } from "../output/render-inbox.ts"
import { renderPlan } from "../output/render-plan.ts"
import { renderTask } from "../output/render-task.ts"
import { renderVerdict } from "../output/render-verdict.ts"
import {
  nodeSignalColumns,
  nodeSignalRow,
  ruleColumns,
  ruleRow,
  signalColumns,
  signalRow,
  stateColumns,
  stateRow,
} from "../output/rule-rows.ts"
import { exitCodes } from "../exit-codes.ts"
import { print } from "../io.ts"
import { voteOverride } from "../commands/approval-vote.ts"

const watchEvents: OperationOverride = { render: renderEvent }

/** By operation: where people need better than what the declaration alone gives. */
export const operationOverrides: Readonly<Record<string, OperationOverride>> = {
  "accounts.create": { positionals: ["id"] },
  // A document that is kept as it is, for `signalbox audit verify --checkpoint`.
  "audit.checkpoint": { render: (value) => `${JSON.stringify(value)}\n` },
  "approval-requests.abstain": voteOverride(approvalRequestsAbstain, "abstain"),
  "approval-requests.answer": { words: ["approvals", "answer"] },
  "approval-requests.approve": voteOverride(approvalRequestsApprove, "approve"),
  "approval-requests.ask": { words: ["approvals", "ask"] },
  "approval-requests.cancel": { words: ["approvals", "cancel"] },
  "approval-requests.delegate": { words: ["approvals", "delegate"] },
  "approval-requests.deny": voteOverride(approvalRequestsDeny, "deny"),
  "approval-requests.export": {
    words: ["approvals", "export"],
    // Always the same bytes: `signalbox approvals verify` looks at each of them.
    run: async (context, input: { request: string }) => {
      const { approvalRequestsExport } = await import("@signalbox/contracts/approvals/requests")
      const bundle = await (await context.client()).call(approvalRequestsExport, input)
      await print(context.io.stdout, `${canonicalJson(bundle)}\n`)
    },
  },
  "approval-requests.edit": { words: ["approvals", "edit"] },
  "approval-requests.inbox": { words: ["approvals", "inbox"], render: renderInbox },
  "approval-requests.get": { words: ["approvals", "get"], aliases: ["show"] },
  "approval-requests.list": { words: ["approvals", "list"] },
  "approval-requests.match": { words: ["approvals", "match"] },
  "approval-requests.submit": { words: ["approvals", "submit"] },
  "approval-requests.wait": { words: ["approvals", "wait"] },
  "associations.remove": { aliases: ["delete"] },
  "approval-groups.remove": { aliases: ["delete"] },
  "templates.remove": { aliases: ["delete"] },
  "actions.get": { aliases: ["show"] },
  "auth.can": {
    positionals: ["operation"],
    aliases: ["can-i"],
    exitCode: ({ allowed }: { allowed: boolean }) => (allowed ? exitCodes.ok : exitCodes.negative),
  },
  "catalog.launch": { positionals: ["portfolio", "product"] },
  "instances.get": { words: ["catalog", "instance"] },
  "instances.list": { words: ["catalog", "instances"] },
  "instances.reveal": { words: ["catalog", "reveal"] },
  "portfolios.get": { words: ["catalog", "portfolio"] },
  "portfolios.list": { words: ["catalog", "portfolios"] },
  "portfolios.remove": { words: ["catalog", "remove-portfolio"] },
  "products.get": { words: ["catalog", "product"] },
  "products.list": { words: ["catalog", "products"] },
  "products.remove": { words: ["catalog", "remove-product"] },
  "calendar-feeds.create": { words: ["calendars", "feed"], positionals: ["calendar"] },
  "calendars.apply": { file: "document" },
  "calendars.document": { render: ({ document }: { document: string }) => document },
  "calendars.freezes": { positionals: ["operation"] },
  "calendars.get": { aliases: ["show"] },
  "calendars.remove": { aliases: ["delete"] },
  "channels.remove": { aliases: ["delete"] },
  "events.list": {
    extend: (command) => command.option("-f, --follow", "go on with events as they happen"),
    run: async (context, input: Record<string, unknown>) => {
      const { eventsList } = await import("@signalbox/contracts/audit/operations")
      if (context.options["follow"] !== true) return await runOperation(context, eventsList, { input, override: {} })
      const { limit: _, ...filter } = input
      return await runOperation(context, eventsWatch, { input: filter, override: watchEvents })
    },
  },
  "events.watch": watchEvents,
  "executions.abort": { render: renderExecution },
  "executions.get": { render: renderExecution },
  "executions.pause": { render: renderExecution },
  "executions.plan": { file: "document", render: renderPlan },
  "executions.resize": { render: renderExecution, positionals: ["concurrency"] },
  "executions.resume": { render: renderExecution },
  "executions.retry": { render: renderExecution },
  "executions.rollback": { render: renderExecution },
  "executions.watch": {
    run: async (context, input: { execution: string; output?: "true" }) => {
      const { watchExecution } = await import("../rollout/watch-execution.ts")
      return await watchExecution(context, { executionId: input.execution, output: input.output === "true" })
    },
  },
  "keys.create": { positionals: ["name"] },
  "nodes.inventory": {
    render: ({ collectedAt, inventory }: OutputOf<typeof nodesInventory>, columns) =>
      renderDetails({ collectedAt, ...inventory }, columns),
  },
  "nodes.list": { shorts: { query: "t", group: "g" } },
  "nodes.resolve": { shorts: { query: "t", group: "g" } },
  "routes.diff": { positionals: ["from", "to"] },
  "routes.rollback": { positionals: ["to"] },
  "rules.explain": { render: renderVerdict },
  "rules.get": {
    aliases: ["show"],
    run: async (context, input: { name: string }) => {
      const { rulesGet } = await import("@signalbox/contracts/rules/operations")
      const { ruleText } = await import("../documents/rule-text.ts")
      const render = (shown: OutputOf<typeof rulesGet>) => {
        const { id, version, author, changedAt, broken, outdated, lastFault, activity, warnings, ...rule } = shown
        const known = { id, version, author, changedAt, broken, outdated, lastFault, activity, warnings }
        return renderDetails({ ...known, rule: readableDocument(ruleText(rule)) }, context.columns)
      }
      return await runOperation(context, rulesGet, { input, override: { render } })
    },
  },
  "rules.list": { table: { columns: ruleColumns, row: ruleRow } },
  "rules.remove": { aliases: ["delete"] },
  "secrets.put": {
    file: "value",
    // What editors and `echo` end a file with is hardly ever part of a password.
    run: async (context, input: { value?: string }) => {
      const { secretsPut } = await import("@signalbox/contracts/secrets/operations")
      const value = context.options["file"] === undefined ? input.value : input.value?.replace(/\r?\n$/, "")
      return await runOperation(context, secretsPut, { input: { ...input, value }, override: {} })
    },
  },
  "secrets.remove": { aliases: ["delete"] },
  "service-accounts.create": { positionals: ["name"] },
  "services.remove": { aliases: ["delete"] },
  "signals.get": {
    aliases: ["show"],
    run: async (context, input: { name: string }) => {
      const { signalsGet } = await import("@signalbox/contracts/triggers/signals")
      const { signalText } = await import("../documents/trigger-text.ts")
      const render = ({ id, version, changedBy, changedAt, counts, ...signal }: OutputOf<typeof signalsGet>) =>
        renderDetails(
          { id, version, changedBy, changedAt, nodes: counts, signal: readableDocument(signalText(signal)) },
          context.columns,
        )
      return await runOperation(context, signalsGet, { input, override: { render } })
    },
  },
  "signals.list": { table: { columns: signalColumns, row: signalRow } },
  "nodes.signals": { table: { columns: nodeSignalColumns, row: nodeSignalRow } },
  "signals.states": { table: { columns: stateColumns, row: stateRow } },
  "subscriptions.remove": { aliases: ["delete"] },
  "tasks.get": { render: renderTask },
  "tasks.output": {
    run: async (context, input: { execution: string; task: string; phase?: "task" | "rollback" }) => {
      const { printTaskOutput } = await import("../output/print-task-output.ts")
      return await printTaskOutput(context, input)
    },
  },
  "user-sessions.list": { words: ["sessions", "list"] },
  "user-sessions.revoke": { words: ["sessions", "revoke"] },
  "user-sessions.revoke-all": { words: ["sessions", "revoke-all"] },
  "users.create": { positionals: ["name"] },
  "workflows.apply": { file: "document" },
  "workflows.validate": {
    file: "document",
    exitCode: ({ valid }: { valid: boolean }) => (valid ? exitCodes.ok : exitCodes.negative),
  },
  "executions.create": { file: "document", render: renderExecution },
}

/** Operations that no person calls by hand, and why. */
export const operationsWithoutCommand: Readonly<Record<string, string>> = {
  "actions.perform": "the router hands over by it what rules ask for",
  "approval-groups.apply": "`signalbox apply -f` calls it: members don't fit into options",
  "artifacts.begin": "`signalbox artifacts push` calls it",
  "artifacts.download": "agents fetch it; it answers with bytes",
  "artifacts.finish": "`signalbox artifacts push` calls it",
  "artifacts.write": "`signalbox artifacts push` calls it",
  "break-glass-reviews.open": "the gate calls it where a call skips closed calendars",
  "calendar-feeds.read": "calendar programs fetch it; it answers with an iCalendar document",
  "auth.logout": "`signalbox logout` calls it",
  "hooks.receive": "senders of webhooks call it at the hook's address",
  "held-operations.keep": "the server calls it where a gate holds a call",
  "held-operations.withdraw": "the server calls it where the rule whose call waits is gone",
  "identity-providers.apply": "`signalbox apply -f` calls it: its groups don't fit into options",
  "deliveries.send": "services call it; people test a channel with `signalbox channels test`",
  "audit.export": "`signalbox audit export` and `signalbox audit verify` call it",
  "link-answers.give": "the page behind a member's link calls it",
  "link-answers.show": "the page behind a member's link calls it",
  "portfolios.apply": "`signalbox apply -f` calls it: constraints don't fit into options",
  "services.put": "`signalbox apply -f` calls it: an OpenAPI document doesn't fit into options",
  "products.apply": "`signalbox apply -f` calls it: parameters don't fit into options",
  "nodes.enroll": "`signalbox agent enroll` calls it with the key that it makes",
  "passwords.change": "`signalbox change-password` calls it, and asks for the passwords",
  "passwords.redeem": "`signalbox login --code` calls it",
  "signals.put": "`signalbox apply -f` calls it: metrics and thresholds don't fit into options",
  "rule-schedules.keep": "the server calls it where a rule has schedules of its own",
  "step-approvals.ask": "the server calls it where a step waits for people",
  "step-approvals.cancel": "the server calls it where no task waits any more",
  "rules.put": "`signalbox apply -f` calls it: triggers and actions don't fit into options",
  "rules.replay": "`signalbox rules replay` calls it",
  "rules.test": "`signalbox rules test` calls it",
  "routes.apply": "`signalbox apply -f` calls it: a map doesn't fit into options",
  "templates.apply": "`signalbox apply -f` calls it: levels don't fit into options",
  "why.explain": "`signalbox why` calls it",
  "why.node": "`signalbox why node` calls it",
  "sessions.exchange": "`signalbox agent run` calls it where WebSockets are cut",
  "sessions.open": "`signalbox agent run` opens it: a connection, not a call",
  "executions.evidence": "agents fetch it whose policy wants approvals",
  "vote-keys.add": "`signalbox approvals keygen` calls it with the key that it makes",
  "user-sessions.begin": "`signalbox login --oidc` calls it",
  "user-sessions.complete": "`signalbox login --oidc` calls it",
  "user-sessions.create": "`signalbox login --user` calls it",
}

/** What each noun is, for help. */
export const nounSummaries: Readonly<Record<string, string>> = {
  accounts: "Tenants of this installation",
  actions: "What rules have set going: runs of their actions, and what storm control held back",
  "approval-groups": "Who answers at a level of an approval",
  "approval-results": "What a backend sees of its own requests",
  approvals: "Requests that wait for a yes, and their votes",
  artifacts: "Files that steps put on nodes",
  associations: "Which requests and calls need which approval",
  audit: "The record of who did what",
  auth: "Who you are here and what you may do",
  "break-glass-reviews": "Calls that skipped closed calendars, to be looked at afterwards",
  "calendar-feeds": "Addresses at which calendar programs read change calendars",
  calendars: "Change calendars: times in which changes are held",
  catalog: "Products that can be launched, and what was launched",
  channels: "Ways to reach somebody: mail, webhook, Slack, Teams",
  delegations: "Who answers in whose place, and who is absent",
  deliveries: "What was sent to channels, and what came of it",
  "enrollment-keys": "Codes and keys that let machines become nodes",
  events: "What happened, as CloudEvents",
  executions: "Runs of workflows",
  groups: "Named sets of nodes",
  hooks: "Addresses to which others send webhooks",
  "held-operations": "Calls that wait for an approval, and what came of them",
  "identity-providers": "OpenID Connect providers that people log in by",
  keys: "API keys",
  "master-key": "The key that all secrets depend on",
  nodes: "Managed machines",
  operations: "All operations of this installation",
  principals: "Who can call: users, service accounts, keys",
  "provisioning-orders": "What provisioners of products are to do",
  resources: "Targets without an agent",
  routes: "The routing map",
  rules: "What happens before and after calls, and because of events",
  schedules: "What is called in time",
  secrets: "Values that steps use and that nothing shows",
  services: "Services outside, called through Signalbox",
  "service-accounts": "Programs that call by keys of their own",
  sessions: "What your logins made, and those of users",
  signals: "Figures of nodes that are watched, and their thresholds",
  silences: "Times in which signals fire no rules",
  "signing-keys": "Keys that checkpoints and approvals are signed with",
  subscriptions: "Which events go to which channel",
  tasks: "The single nodes of a run",
  templates: "Approval templates: who has to say yes, in which order",
  triggers: "What can be fired by name",
  users: "People who log in",
  windows: "Maintenance windows: times in which work may start",
  "vote-keys": "Keys that members sign votes with",
  workflows: "What can be run",
}
