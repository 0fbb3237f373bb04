import {
  secretLimits,
  secretsGet,
  secretsList,
  secretsPut,
  secretsRemove,
} from "@signalbox/contracts/secrets/operations"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { toInstant } from "@signalbox/kernel/clock"
import { onChange, onRead, type ChangeContext, type Handler } from "../../router/handler.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import { seal } from "./envelope.ts"
import type { KeyRing } from "./key-ring.ts"
import { kindOfReference, refuseReference, type ReferencePolicy } from "./reference.ts"
import {
  countSecrets,
  findSecret,
  insertVersion,
  listSecrets,
  raiseVersion,
  removeOldVersions,
  removeSecret,
  type SecretRow,
} from "./store.ts"

interface SecretsParts {
  readonly ring: KeyRing
  readonly references: ReferencePolicy
}

export function secretsHandlers(parts: SecretsParts): Handler[] {
  return [
    onChange(secretsPut, (input, ctx) => putSecret(parts, input, ctx)),
    onRead(secretsList, async (input, { sql, account }) => {
      const [after = ""] = input.cursor ? decodeCursor(input.cursor, 1) : []
      const rows = await listSecrets(sql, account, { after: String(after), limit: input.limit + 1 })
      const shown = rows.slice(0, input.limit)
      const last = shown.at(-1)
      const more = rows.length > input.limit && last !== undefined
      return { items: shown.map(toSecret), ...(more ? { nextCursor: encodeCursor([last.name]) } : {}) }
    }),
    onRead(secretsGet, async ({ name }, { sql, account }) => {
      const row = await findSecret(sql, account, name)
      if (!row) throw notFound(name)
      return toSecret(row)
    }),
    onChange(secretsRemove, async ({ name }, ctx) => {
      const version = await removeSecret(ctx.tx, ctx.account, name)
      if (version === undefined) throw notFound(name)
      ctx.emit({ ...eventOf(ctx, name, version), type: "secret.removed", data: { name } })
      return { name }
    }),
  ]
}

async function putSecret(
  { ring, references }: SecretsParts,
  input: InputOf<typeof secretsPut>,
  ctx: ChangeContext,
): Promise<OutputOf<typeof secretsPut>> {
  const { tx, account } = ctx
  const { name, value, reference } = input
  if ((value === undefined) === (reference === undefined))
    throw new AppError("request.invalid-input", "secrets.put: give a value or a reference, one of them", {
      issues: [{ path: "value", message: "a value or a reference, one of them" }],
    })
  if (reference !== undefined) {
    if (!ctx.caller.permissions.has("secrets.refer"))
      throw new AppError("secrets.reference-refused", `${ctx.caller.principal} lacks the permission secrets.refer`)
    refuseReference(reference, references)
  }
  const version = await raiseVersion(tx, account, name)
  if ((await countSecrets(tx, account)) > secretLimits.secretsMax)
    throw new AppError("secrets.too-many", `an account has at most ${secretLimits.secretsMax} secrets`)
  const generation = ring.current
  const envelope = value === undefined ? undefined : seal(ring.get(generation), { account, name, version }, value)
  await insertVersion(tx, account, {
    name,
    version,
    kind: reference === undefined ? "value" : kindOfReference(reference),
    reference: reference ?? null,
    wrapped_key: envelope?.wrappedKey ?? null,
    sealed: envelope?.sealed ?? null,
    generation,
    created_by: ctx.caller.principal,
  })
  await removeOldVersions(tx, account, { name, versionsKept: secretLimits.versionsKept })
  const row = await findSecret(tx, account, name)
  assert(row !== undefined, "a secret that was put is there")
  ctx.emit({ ...eventOf(ctx, name, version), type: "secret.put", data: { name, version, kind: row.kind } })
  return toSecret(row)
}

function eventOf(ctx: ChangeContext, name: string, version: number) {
  const subject = `secret/${ctx.account}/${name}`
  return { aggregate: subject, subject, version }
}

function notFound(name: string): AppError {
  return new AppError("secrets.not-found", `there is no secret "${name}" in this account`)
}

function toSecret(row: SecretRow): OutputOf<typeof secretsGet> {
  return {
    name: row.name,
    version: row.version,
    kind: row.kind as OutputOf<typeof secretsGet>["kind"],
    createdAt: toInstant(row.created_at),
    createdBy: row.created_by,
    ...(row.reference === null ? {} : { reference: row.reference }),
    ...(row.used_at === null ? {} : { usedAt: toInstant(row.used_at) }),
  }
}
