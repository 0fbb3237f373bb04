import {
  channelsApply,
  channelsGet,
  channelsList,
  channelsRemove,
  channelsTest,
  notificationLimits,
} from "@signalbox/contracts/notifications/operations"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError, type Issue } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { toInstant } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import { findSecretFaults, httpUrlFault, type NamedSecret } from "../../named-secrets.ts"
import { onChange, onRead, type ChangeContext, type Handler, type ReadContext } from "../../router/handler.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import type { Sql } from "../../storage/database.ts"
import { findDelivery, insertDelivery, type DeliveryRow } from "./delivery-store.ts"
import type { NotificationsContext, NotificationsOptions } from "./options.ts"
import { signingKeyFault } from "./send-webhook.ts"
import { countRows, deleteChannel, findChannel, listChannels, listUsersOfChannel, lockChannel } from "./store.ts"
import { putChannel, type ChannelRow, type ChannelSpec } from "./store.ts"
import { toChannel, toDelivery, type Delivery } from "./wire.ts"

export function channelHandlers(options: NotificationsContext): Handler[] {
  return [
    onChange(channelsApply, (input, ctx) => applyChannel(options, input, ctx), {
      prepare: (input, ctx) => refuseInvalid(options, input, ctx),
    }),
    onRead(channelsGet, async ({ name }, { sql, account }) => toChannel(await getChannel(sql, account, name))),
    onRead(channelsList, async (input, { sql, account }) => {
      const [after = ""] = input.cursor === undefined ? [] : decodeCursor(input.cursor, 1)
      const rows = await listChannels(sql, account, { after: String(after), limit: input.limit + 1 })
      const shown = rows.slice(0, input.limit)
      const last = shown.at(-1)
      const more = rows.length > input.limit && last !== undefined
      return { items: shown.map(toChannel), ...(more ? { nextCursor: encodeCursor([last.name]) } : {}) }
    }),
    onChange(channelsRemove, async ({ name }, ctx) => {
      const row = await lockChannel(ctx.tx, ctx.account, name)
      if (!row) throw channelNotFound(name)
      const users = await listUsersOfChannel(ctx.tx, ctx.account, name)
      if (users.length > 0)
        throw new AppError("notifications.channel-in-use", `these subscriptions use "${name}": ${users.join(", ")}`)
      await deleteChannel(ctx.tx, ctx.account, name)
      emitChannel(ctx, { ...row, version: row.version + 1 }, "channel.removed")
      return { name }
    }),
    onChange(channelsTest, ({ name }, ctx) => testChannel(options, name, ctx)),
  ]
}

/** @throws notifications.channel-not-found */
export async function getChannel(sql: Sql, account: string, name: string): Promise<ChannelRow> {
  const row = await findChannel(sql, account, name)
  if (!row) throw channelNotFound(name)
  return row
}

export const channelNotFound = (name: string): AppError =>
  new AppError("notifications.channel-not-found", `there is no channel "${name}" in this account`)

async function applyChannel(options: NotificationsOptions, input: InputOf<typeof channelsApply>, ctx: ChangeContext) {
  const { name, via } = input
  const description = input.description ?? null
  const spec = specOf(input)
  const existing = await lockChannel(ctx.tx, ctx.account, name)
  const isSame =
    existing !== undefined &&
    JSON.stringify([existing.via, existing.description, specOf(existing.spec)]) ===
      JSON.stringify([via, description, spec])
  if (isSame) return { ...toChannel(existing), changed: false }
  if (!existing && (await countRows(ctx.tx, ctx.account, "channels")) >= notificationLimits.channelsMax)
    throw new AppError("notifications.too-many", `an account has ${notificationLimits.channelsMax} channels at most`)
  const id = existing?.id ?? newId("channel", options.clock, options.random)
  const changedBy = ctx.caller.principal
  const row = await putChannel(ctx.tx, { account: ctx.account, name, id, description, via, spec, changedBy }, ctx.now)
  emitChannel(ctx, row, existing ? "channel.changed" : "channel.created")
  return { ...toChannel(row), changed: true }
}

/** What is kept of a channel beside its name and kind, its members always in the same order. */
function specOf({ to, url, urlSecret, signingSecret }: SpecInput): ChannelSpec {
  return {
    ...(to === undefined ? {} : { to: [...new Set(to)] }),
    ...(url === undefined ? {} : { url }),
    ...(urlSecret === undefined ? {} : { urlSecret }),
    ...(signingSecret === undefined ? {} : { signingSecret }),
  }
}

interface SpecInput {
  readonly to?: readonly string[] | undefined
  readonly url?: string | undefined
  readonly urlSecret?: string | undefined
  readonly signingSecret?: string | undefined
}

function emitChannel(ctx: ChangeContext, row: ChannelRow, type: string): void {
  const data = { name: row.name, via: row.via }
  ctx.emit({ aggregate: row.id, type, subject: row.id, version: row.version, data })
}

/** @throws notifications.invalid-channel */
async function refuseInvalid(
  options: NotificationsOptions,
  input: InputOf<typeof channelsApply>,
  { account }: ReadContext,
): Promise<void> {
  const issues = findSpecIssues(input)
  if (input.via === "mail" && options.mail === undefined)
    issues.push({ path: "via", message: "this server has no mail server; set smtp-url and smtp-from" })
  if (issues.length === 0) issues.push(...(await findSecretFaults(options.secrets, account, secretsOf(input))))
  if (issues.length === 0) return
  throw new AppError("notifications.invalid-channel", `the channel ${input.name} is not complete, or not right`, {
    issues,
  })
}

function secretsOf({ urlSecret, signingSecret }: SpecInput): NamedSecret[] {
  return [
    ...(urlSecret === undefined ? [] : [{ path: "urlSecret", name: urlSecret, faultOf: httpUrlFault }]),
    ...(signingSecret === undefined ? [] : [{ path: "signingSecret", name: signingSecret, faultOf: signingKeyFault }]),
  ]
}

const fieldsOfKind = {
  mail: { needed: ["to"], allowed: [] },
  webhook: { needed: ["signingSecret"], allowed: ["url", "urlSecret"] },
  slack: { needed: ["urlSecret"], allowed: [] },
  teams: { needed: ["urlSecret"], allowed: [] },
} as const satisfies Record<string, { needed: ReadonlyArray<keyof SpecInput>; allowed: ReadonlyArray<keyof SpecInput> }>

function findSpecIssues(input: InputOf<typeof channelsApply>): Issue[] {
  const { needed, allowed } = fieldsOfKind[input.via] as {
    needed: ReadonlyArray<keyof SpecInput>
    allowed: ReadonlyArray<keyof SpecInput>
  }
  const issues: Issue[] = []
  for (const field of ["to", "url", "urlSecret", "signingSecret"] as const) {
    const isGiven = input[field] !== undefined
    if (needed.includes(field) && !isGiven) issues.push({ path: field, message: `a ${input.via} channel needs it` })
    if (!isGiven || needed.includes(field) || allowed.includes(field)) continue
    const isHookUrl = field === "url" && (input.via === "slack" || input.via === "teams")
    const why = isHookUrl
      ? "whoever knows it can post: put it into a secret and name that in urlSecret"
      : `a ${input.via} channel has no such field`
    issues.push({ path: field, message: why })
  }
  if (input.via === "webhook" && (input.url === undefined) === (input.urlSecret === undefined))
    issues.push({ path: "url", message: "give url or urlSecret, one of them" })
  return issues
}

/** Writes the delivery; it is sent after the commit, so that no call leaves inside a transaction. */
async function testChannel(options: NotificationsContext, name: string, ctx: ChangeContext): Promise<Delivery> {
  const channel = await getChannel(ctx.tx, ctx.account, name)
  const id = newId("delivery", options.clock, options.random)
  const time = toInstant(ctx.now)
  await insertDelivery(ctx.tx, {
    id,
    account: ctx.account,
    channel: name,
    via: channel.via,
    subscription: null,
    messageId: id,
    event: {
      specversion: "1.0",
      id,
      source: `/accounts/${ctx.account}`,
      type: "delivery.tested",
      subject: channel.id,
      subjectversion: channel.version,
      time,
      cause: ctx.cause,
      depth: ctx.depth,
      principal: ctx.caller.principal,
      data: { channel: name },
    },
    message: {
      title: `Test of the channel ${name}`,
      severity: "notice",
      facts: [
        ["Channel", name],
        ["Sent by", ctx.caller.principal],
        ["At", time],
      ],
    },
    cause: ctx.cause,
    depth: ctx.depth,
    throttleGroup: null,
    suppressed: 0,
    redeliveryOf: null,
    createdAt: ctx.now,
  })
  return await requestDelivery(ctx, options.sender, id)
}

/** Tells that a delivery is to be sent, and gives it. */
export async function requestDelivery(
  ctx: ChangeContext,
  sender: NotificationsContext["sender"],
  id: string,
): Promise<Delivery> {
  const row = await findDelivery(ctx.tx, ctx.account, id)
  assert(row, "a delivery that was written is there")
  tellRequested(ctx, sender, row)
  return toDelivery(row)
}

export function tellRequested(
  ctx: ChangeContext,
  sender: NotificationsContext["sender"],
  { id, channel, redeliveryOf }: Pick<DeliveryRow, "id" | "channel" | "redeliveryOf">,
): void {
  const data = { channel, ...(redeliveryOf === null ? {} : { redeliveryOf }) }
  ctx.emit({ aggregate: id, type: "delivery.requested", subject: id, version: 1, data })
  ctx.afterCommit(() => sender.wake())
}
