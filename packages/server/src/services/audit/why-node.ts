import type { whyNode } from "@signalbox/contracts/audit/operations"
import { nodesGet, nodesInventory, nodesPackageChanges } from "@signalbox/contracts/fleet/operations"
import type { OutputOf } from "@signalbox/contracts/operation"
import { executionsList } from "@signalbox/contracts/workflows/operations"
import { toInstant } from "@signalbox/kernel/clock"
import type { ReadContext } from "../../router/handler.ts"
import type { OperationCaller } from "../../router/ports.ts"
import { findEvents, type Expanders, type OutboxEvent } from "../../storage/outbox.ts"
import { attributeChange, clockSlackMilliseconds, record, sentence, type WorkSpan } from "./model.ts"
import { findAudit } from "./store.ts"
import { findNodeSignals } from "./node-signals.ts"
import { findTasks, runText, workflowText, type Execution, type NodeRun } from "./node-tasks.ts"

/** Who changed a node, or a package on it. */
interface NodeQuestion {
  readonly node: string
  readonly package?: string | undefined
  readonly limit: number
  readonly context: ReadContext
}

interface Options {
  readonly operations: OperationCaller
  readonly expanders: Expanders
}

type Answer = OutputOf<typeof whyNode>
type Finding = Answer["findings"][number]
type Change = OutputOf<typeof nodesPackageChanges>["items"][number]
type Node = OutputOf<typeof nodesGet>
type Run = NodeRun & WorkSpan

/** Runs of a node that are looked through for the one that made a change. */
const pagesMax = 5
const pageExecutions = 100
/** Runs whose tasks are asked for. */
const tasksMax = 50
/** Events of one run's approval request that are looked at. */
const approvalsMax = 500

/** @throws fleet.node-not-found */
export async function explainNode(options: Options, question: NodeQuestion): Promise<Answer> {
  const node = await options.operations.call(nodesGet, { node: question.node }, asOf(question.context))
  const answer =
    question.package === undefined
      ? {
          ...(await explainRuns(options, node, question)),
          signals: await findNodeSignals(options.operations, node.id, question.context),
        }
      : await explainPackage(options, node, { ...question, package: question.package })
  return { node: node.id, nodeName: node.name, ...answer }
}

const asOf = ({ account, cause, depth }: ReadContext) =>
  ({ account, cause, depth: depth + 1, service: "audit", roles: ["viewer"] }) as const

async function explainRuns(
  options: Options,
  node: Node,
  { limit, context }: NodeQuestion,
): Promise<Pick<Answer, "answer" | "findings">> {
  const { items } = await options.operations.call(executionsList, { node: node.id, limit }, asOf(context))
  const runs = await findTasks(options.operations, { node, executions: items, context })
  const findings: Finding[] = []
  for (const run of runs) {
    const { startedAt } = run.task
    const time = startedAt ?? run.execution.createdAt
    findings.push({ time, kind: "run", text: runText(run), ...(await factsOf(options, run, context)) })
  }
  const [first] = findings
  return { answer: first ? `${first.time}: ${first.text}` : `no run has touched ${node.name}`, findings }
}

async function explainPackage(
  options: Options,
  node: Node,
  question: NodeQuestion & { readonly package: string },
): Promise<Pick<Answer, "answer" | "findings" | "package" | "present">> {
  const { limit, context } = question
  const as = asOf(context)
  const name = question.package
  const [{ items: changes }, { inventory, firstCollectedAt }] = await Promise.all([
    options.operations.call(nodesPackageChanges, { node: node.id, package: name, limit }, as),
    options.operations.call(nodesInventory, { node: node.id }, as),
  ])
  const present = (inventory?.packages ?? [])
    .filter((each) => each.name === name)
    .map(({ architecture, version }) => ({ architecture, version }))
  const runs = await findRuns(options, node, { changes, context })
  const findings: Finding[] = []
  for (const change of changes) findings.push(await findingOf(options, { change, runs, context }))
  const versions = present.map(({ version }) => version).join(", ")
  const [first] = findings
  const answer = first
    ? `${name} on ${node.name}: ${first.text}`
    : answerWithout({
        name: `${name} ${versions}`.trim(),
        node: node.name,
        firstCollectedAt,
        isPresent: versions !== "",
      })
  return { package: name, present, answer, findings }
}

/** Of a package whose version never changed while anybody looked. */
function answerWithout(of: {
  readonly name: string
  readonly node: string
  readonly firstCollectedAt: string | undefined
  readonly isPresent: boolean
}): string {
  const { name, node, firstCollectedAt, isPresent } = of
  if (firstCollectedAt === undefined) return `${node} has told of no packages yet`
  if (isPresent)
    return `${name} on ${node}: not by Signalbox, seen at ${firstCollectedAt}, when its packages were first looked at`
  return `${name} is not on ${node}, and was not since its packages were first looked at, ${firstCollectedAt}`
}

/** The runs that were at work on the node around these changes. */
async function findRuns(
  { operations }: Options,
  node: Node,
  { changes, context }: { readonly changes: readonly Change[]; readonly context: ReadContext },
): Promise<Run[]> {
  if (changes.length === 0) return []
  const spans = changes.map(({ seenAfter, seenAt }) => {
    return { from: Date.parse(seenAfter) - clockSlackMilliseconds, to: Date.parse(seenAt) + clockSlackMilliseconds }
  })
  const mayHave = ({ createdAt, finishedAt }: Execution): boolean =>
    spans.some(
      ({ from, to }) => Date.parse(createdAt) <= to && (finishedAt === undefined || Date.parse(finishedAt) >= from),
    )
  const found: Execution[] = []
  let cursor: string | undefined
  for (let page = 0; page < pagesMax && found.length < tasksMax; page++) {
    const asked = { node: node.id, limit: pageExecutions, ...(cursor === undefined ? {} : { cursor }) }
    const { items, nextCursor } = await operations.call(executionsList, asked, asOf(context))
    found.push(...items.filter(mayHave))
    cursor = nextCursor
    if (cursor === undefined) break
  }
  const runs = await findTasks(operations, { node, executions: found.slice(0, tasksMax), context })
  return runs.flatMap(({ execution, task }) => {
    if (task.startedAt === undefined) return []
    // What a rollback changed counts as the run's: it ends with its execution.
    const end = task.rollback === "none" ? task.finishedAt : execution.finishedAt
    const finishedAt = end === undefined ? undefined : Date.parse(end)
    return [{ execution, task, startedAt: Date.parse(task.startedAt), finishedAt }]
  })
}

async function findingOf(
  options: Options,
  of: { readonly change: Change; readonly runs: readonly Run[]; readonly context: ReadContext },
): Promise<Finding> {
  const { change, runs, context } = of
  const { fromVersion, toVersion, architecture, seenAt, seenAfter } = change
  const changedAt = change.changedAt === undefined ? undefined : Date.parse(change.changedAt)
  const found = attributeChange({ seenAt: Date.parse(seenAt), seenAfter: Date.parse(seenAfter), changedAt }, runs)
  const what = changeText(change)
  const facts = {
    architecture,
    ...(fromVersion === undefined ? {} : { fromVersion }),
    ...(toVersion === undefined ? {} : { toVersion }),
    ...{ seenAt, seenAfter },
  }
  if (found.kind === "outside")
    return {
      time: seenAt,
      kind: "outside",
      text: `${what}, not by Signalbox, seen at ${seenAt}`,
      ...facts,
      approvals: [],
    }
  const { run } = found
  const did = found.kind === "run" ? runText(run) : `it may have been this: ${runText(run)}`
  const time = change.changedAt ?? seenAt
  return { time, kind: found.kind, text: `${what}; ${did}`, ...facts, ...(await factsOf(options, run, context)) }
}

function changeText({ fromVersion, toVersion }: Change): string {
  if (fromVersion === undefined) return `installed ${toVersion}`
  return toVersion === undefined ? `removed ${fromVersion}` : `${fromVersion} became ${toVersion}`
}

/** What is known of a run, and what was said before it was allowed. */
async function factsOf({ expanders }: Options, { execution, task }: NodeRun, context: ReadContext) {
  const events = await findSaid({ expanders }, execution.id, context)
  return {
    execution: execution.id,
    task: task.id,
    workflow: workflowText(execution),
    by: execution.createdBy,
    cause: execution.cause,
    state: task.state,
    approvals: events.map((event) => ({
      time: toInstant(event.time),
      type: event.type,
      subject: event.subject,
      principal: event.principal,
      text: sentence(event),
      data: record(event.data),
    })),
  }
}

/** A run that was held was created because of its approval request: the votes on that, its edits and its end. */
async function findSaid(
  { expanders }: Pick<Options, "expanders">,
  execution: string,
  { sql, account }: ReadContext,
): Promise<OutboxEvent[]> {
  const of = { account, field: "subject" } as const
  const [created] = await findAudit(sql, { ...of, value: execution, limit: 1 })
  const request = created?.caused_by
  if (!request?.startsWith("apr_")) return []
  const by = { ...of, value: request, typePrefix: "approval-request.", limit: approvalsMax } as const
  const events = await findEvents(sql, { ...by, expanders })
  return events.filter(({ type }) => said.has(type))
}

/** What people said and what came of it; who was asked, and who was told, is in the whole story. */
const said: ReadonlySet<string> = new Set(
  ["voted", "delegated", "asked", "answered", "edited", "escalated", "approved", "ran"].map(
    (what) => `approval-request.${what}`,
  ),
)
