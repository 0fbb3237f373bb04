import { createHash } from "node:crypto"
import {
  hooksGet,
  hooksList,
  hooksPut,
  hooksReceive,
  hooksRemove,
  hooksRotate,
} from "@signalbox/contracts/triggers/hooks"
import { triggerLimits } from "@signalbox/contracts/triggers/trigger-limits"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import { AppError, type Issue } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { getDuration } from "@signalbox/kernel/duration"
import { encodeBase32, newId } from "@signalbox/kernel/id"
import { onChange, onRead, type ChangeContext, type Handler } from "../../router/handler.ts"
import { makeKeyText, parseKeyText } from "../../router/key-text.ts"
import type { Sql } from "../../storage/database.ts"
import { CallBuckets } from "./call-bucket.ts"
import { getDefinition, hookKind, pageOfDefinitions, putWithEvent, removeWithEvent, tell } from "./definition-change.ts"
import { findDefinition, lockDefinition, putDefinition, type DefinitionRow } from "./definition-store.ts"
import { notFound } from "./definition-change.ts"
import { readBody, visibleHeaders } from "./hook-message.ts"
import { claimMessage, findHookKeys, hookSecretUse, listPreviousUntil, setHookKeys } from "./hook-store.ts"
import type { HookKeys } from "./hook-store.ts"
import { secretFault, toStandardSecret, verifyMessage, type HookSpec } from "./hook-verification.ts"
import type { TriggersOptions } from "./options.ts"

export const webhookReceived = "webhook.received"
const bucketsMax = 10_000

export function hookHandlers(options: TriggersOptions): Handler[] {
  return [
    onChange(hooksPut, (input, ctx) => putHook(options, input, ctx)),
    onRead(hooksList, async (input, { sql, account }) => {
      const { rows, ...rest } = await pageOfDefinitions<HookSpec>(sql, hookKind, { account, ...input })
      return { items: await toHooks(sql, account, rows), ...rest }
    }),
    onRead(hooksGet, async ({ name }, { sql, account }) =>
      toHookOf(sql, await getDefinition<HookSpec>(sql, hookKind, { account, name })),
    ),
    onChange(hooksRemove, async ({ name }, ctx) => {
      await removeWithEvent(options, ctx, { kind: hookKind, name })
      return { name }
    }),
    onChange(hooksRotate, (input, ctx) => rotateHook(options, input, ctx)),
    receive(options),
  ]
}

async function putHook(options: TriggersOptions, input: InputOf<typeof hooksPut>, ctx: ChangeContext) {
  const { name, description, secret: given, ...spec } = input
  const existing = await findDefinition<HookSpec>(ctx.tx, "hooks", { account: ctx.account, name })
  const issues = findIssues(spec, { given, existing: existing?.spec })
  if (issues.length > 0)
    throw new AppError("triggers.invalid-hook", `${issues[0]?.path}: ${issues[0]?.message}`, { issues })
  const { row, change } = await putWithEvent<HookSpec>(options, ctx, { kind: hookKind, name, description, spec })
  const made = change === "created" ? await makeKeys(options, ctx, { row, given, address: true }) : {}
  return { ...(await toHookOf(ctx.tx, row)), ...made, changed: change !== "none" }
}

function findIssues(
  { verify, signature, idHeader }: HookSpec,
  { given, existing }: { given: string | undefined; existing: HookSpec | undefined },
): Issue[] {
  const fault = given === undefined ? undefined : secretFault(verify, given)
  return [
    ...((verify === "hmac") === (signature !== undefined)
      ? []
      : [{ path: "signature", message: "a hook that is verified by hmac has one, and no other" }]),
    ...(idHeader !== undefined && (verify === "standard" || verify === "github")
      ? [{ path: "idHeader", message: `${verify} says itself where the id of a message is` }]
      : []),
    ...(existing && existing.verify !== verify
      ? [{ path: "verify", message: `this hook is of kind ${existing.verify}; make another one` }]
      : []),
    ...(existing && given !== undefined ? [{ path: "secret", message: "hooks.rotate gives a hook another one" }] : []),
    ...(fault === undefined ? [] : [{ path: "secret", message: fault }]),
  ]
}

interface MadeKeys {
  readonly url?: string
  readonly secret?: string
}

/** Makes what is new of a hook; gives what is to be shown once. A secret that was given is not shown again. */
async function makeKeys(
  { random, sealer, publicUrl }: TriggersOptions,
  ctx: ChangeContext,
  of: {
    readonly row: DefinitionRow<HookSpec>
    readonly given: string | undefined
    readonly address: boolean
    readonly previousUntil?: number
  },
): Promise<MadeKeys> {
  const { account, id, spec } = of.row
  const token = of.address ? makeKeyText({ account, id }, random) : undefined
  const secret = spec.verify === "path" ? undefined : (of.given ?? newSecret(spec.verify, random))
  await setHookKeys(ctx.tx, of.row, {
    ...(token ? { tokenHash: token.secretHash } : {}),
    ...(secret === undefined ? {} : { secret: sealer.seal({ account, use: hookSecretUse, id }, secret) }),
    ...(of.previousUntil === undefined ? {} : { previousUntil: of.previousUntil }),
  })
  return {
    ...(token ? { url: `${publicUrl}/hooks/${token.text}` } : {}),
    ...(secret === undefined || of.given !== undefined ? {} : { secret }),
  }
}

function newSecret(verify: HookSpec["verify"], random: TriggersOptions["random"]): string {
  const bytes = random.bytes(32)
  return verify === "standard"
    ? toStandardSecret(bytes)
    : encodeBase32(bytes.subarray(0, 16)) + encodeBase32(bytes.subarray(16))
}

async function rotateHook(options: TriggersOptions, input: InputOf<typeof hooksRotate>, ctx: ChangeContext) {
  const { name, secret: given, keep } = input
  const existing = await lockDefinition<HookSpec>(ctx.tx, "hooks", { account: ctx.account, name })
  if (!existing) throw notFound(hookKind, name)
  const fault = given === undefined ? undefined : secretFault(existing.spec.verify, given)
  if (fault !== undefined)
    throw new AppError("triggers.invalid-hook", `secret: ${fault}`, { issues: [{ path: "secret", message: fault }] })
  const definition = { ...existing, changedBy: ctx.caller.principal }
  const row = await putDefinition(ctx.tx, "hooks", { definition, now: ctx.now })
  const address = input.address || existing.spec.verify === "path"
  const made = await makeKeys(options, ctx, { row, given, address, previousUntil: ctx.now + getDuration(keep) })
  await tell(options, ctx, { kind: hookKind, row, change: "rotated" })
  return { ...(await toHookOf(ctx.tx, row)), ...made }
}

type Hook = OutputOf<typeof hooksGet>

async function toHooks(sql: Sql, account: string, rows: ReadonlyArray<DefinitionRow<HookSpec>>): Promise<Hook[]> {
  const previous = await listPreviousUntil(
    sql,
    account,
    rows.map(({ id }) => id),
  )
  const until = new Map(previous.map(({ id, previousUntil }) => [id, previousUntil]))
  return rows.map(({ id, name, description, spec, ...row }) => {
    const previousUntil = until.get(id)
    return {
      ...{ id, name, ...(description === null ? {} : { description }), ...spec, version: row.version },
      ...(previousUntil === undefined ? {} : { previousUntil: toInstant(previousUntil) }),
      ...{ createdAt: toInstant(row.createdAt), changedAt: toInstant(row.changedAt), changedBy: row.changedBy },
    }
  })
}

async function toHookOf(sql: Sql, row: DefinitionRow<HookSpec>): Promise<Hook> {
  const [hook] = await toHooks(sql, row.account, [row])
  if (!hook) throw new Error("one row gives one hook")
  return hook
}

/** The token was the credential: the router has made sure that the caller is the hook's address. */
function receive(options: TriggersOptions): Handler {
  const buckets = new CallBuckets({
    perMinute: triggerLimits.hookCallsPerMinuteMax,
    burst: triggerLimits.hookBurst,
    callersMax: bucketsMax,
  })
  return onChange(
    hooksReceive,
    async ({ token, body, headers }, ctx) => {
      const hook = await getHook(ctx.tx, ctx.account, token)
      const message = { headers, body: Buffer.from(body, "base64"), now: ctx.now }
      const verdict = verifyMessage(hook.spec, secretsOf(options, hook, ctx.now), message)
      if (!verdict.isGenuine) throw refused()
      const id = newId("hookMessage", options.clock, options.random)
      if (verdict.id !== undefined) {
        const digest = createHash("sha256").update(verdict.id).digest("hex")
        const claim = { hookId: hook.id, message: digest, account: ctx.account, event: id, now: ctx.now }
        const { isNew, event } = await claimMessage(ctx.tx, claim)
        if (!isNew) return { id: event, repeated: true }
      }
      const data = {
        webhook: hook.name,
        body: readBody(message.body, headers["content-type"] ?? ""),
        headers: visibleHeaders(hook.spec, headers),
      }
      ctx.emit({ aggregate: id, type: webhookReceived, subject: id, version: 1, data })
      return { id, repeated: false }
    },
    {
      // Before a transaction is open: most of what is refused is refused here.
      prepare: async ({ token, body, headers }, { sql, account, now }) => {
        const hook = await getHook(sql, account, token)
        const message = { headers, body: Buffer.from(body, "base64"), now }
        if (!verifyMessage(hook.spec, secretsOf(options, hook, now), message).isGenuine) throw refused()
        if (buckets.take(hook.id, now)) return
        const { hookCallsPerMinuteMax } = triggerLimits
        throw new AppError("triggers.hook-busy", `more than ${hookCallsPerMinuteMax} messages a minute`)
      },
    },
  )
}

async function getHook(sql: Sql, account: string, token: string): Promise<HookKeys> {
  const hook = await findHookKeys(sql, account, parseKeyText(token)?.id ?? "")
  if (!hook) throw refused()
  return hook
}

function secretsOf({ sealer }: TriggersOptions, hook: HookKeys, now: number): string[] {
  const previous = (hook.previousUntil ?? 0) > now ? hook.previousSecret : null
  const place = { account: hook.account, use: hookSecretUse, id: hook.id }
  return [hook.secret, previous].flatMap((text) => (text === null ? [] : [sealer.unseal(place, text)]))
}

/** Says nothing of what was wrong. */
const refused = (): AppError => new AppError("triggers.message-refused", "the message could not be verified")
