import { resourcesApply } from "@signalbox/contracts/fleet/operations"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import type { Clock } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"
import { onChange, type ChangeContext, type Handler } from "../../router/handler.ts"
import type { Tx } from "../../storage/database.ts"
import { isNodeId, isSameTags } from "./model.ts"
import { claimForNode, findNode, insertResource, lockNode, updateResource, type NodeRow } from "./node-store.ts"
import { toNode } from "./wire.ts"

type Input = InputOf<typeof resourcesApply>
type Output = OutputOf<typeof resourcesApply>

export function resourceHandlers(options: { readonly clock: Clock; readonly random: Random }): Handler[] {
  return [onChange(resourcesApply, (input, ctx) => apply(options, input, ctx))]
}

async function apply(
  options: { readonly clock: Clock; readonly random: Random },
  input: Input,
  ctx: ChangeContext,
): Promise<Output> {
  if (isNodeId(input.name))
    throw new AppError("request.invalid-input", `"${input.name}" looks like a node's id; choose another name`)
  const runner = input.runner === undefined ? null : await getRunner(ctx.tx, ctx.account, input.runner)
  const existing = await lockNode(ctx.tx, ctx.account, input.name)
  if (existing?.kind === "node")
    throw new AppError("fleet.node-name-taken", `"${input.name}" is the name of a node with an agent`)
  const { kind, tags } = input
  if (existing && existing.kind === kind && existing.runner === runner && isSameTags(existing.tags, tags))
    return { ...toNode(existing), changed: false }
  const row = existing
    ? await updateResource(ctx.tx, { ...existing, kind, runner, tags })
    : await create(ctx, { id: newId("node", options.clock, options.random), name: input.name, kind, runner, tags })
  assert(row, "a resource that was written is there")
  ctx.emit({
    aggregate: row.id,
    type: existing ? "resource.changed" : "resource.registered",
    subject: row.id,
    version: row.version,
    data: { name: row.name, kind, runner, tags },
  })
  return { ...toNode(row), changed: true }
}

async function create(
  ctx: ChangeContext,
  resource: Pick<NodeRow, "id" | "name" | "kind" | "runner" | "tags">,
): Promise<NodeRow | undefined> {
  const { account, tx, now } = ctx
  const owner = await claimForNode(tx, { account, kind: "name", value: resource.name, nodeId: resource.id })
  if (owner !== resource.id)
    throw new AppError("fleet.node-name-taken", `"${resource.name}" is the name of another node or resource`)
  await insertResource(tx, { ...resource, account, enrolledAt: now })
  return findNode(tx, account, resource.id)
}

/** @throws fleet.node-not-found, request.invalid-input */
async function getRunner(tx: Tx, account: string, reference: string): Promise<string> {
  const node = reference.includes("\0") ? undefined : await findNode(tx, account, reference)
  if (!node)
    throw new AppError("fleet.node-not-found", `there is no node ${JSON.stringify(reference)} that could be the runner`)
  if (node.kind === "node") return node.id
  throw new AppError("request.invalid-input", `"${node.name}" has no agent and can't run another's tasks`, {
    issues: [{ path: "runner", message: "name a node with an agent" }],
  })
}
