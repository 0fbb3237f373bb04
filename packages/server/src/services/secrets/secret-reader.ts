import { AppError } from "@signalbox/kernel/app-error"
import type { SecretReader, SecretValue } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import { unseal } from "./envelope.ts"
import type { KeyRing } from "./key-ring.ts"
import { readReference, type ReferencePolicy } from "./reference.ts"
import { noteUse, readCurrent, readVersions, type SecretVersionRow } from "./store.ts"

/** Gives values to the services that use them. Keeps none: references are read anew at each use. */
export function createSecretReader(options: {
  readonly sql: Sql
  readonly ring: KeyRing
  /** Reads the keys anew: another server may have begun a generation. */
  readonly reload: () => Promise<void>
  readonly references: ReferencePolicy
}): SecretReader {
  const { sql, ring, references, reload } = options

  async function valueOf(account: string, row: SecretVersionRow): Promise<string> {
    if (row.reference !== null) return readReference(row.reference, references)
    const { wrapped_key: wrappedKey, sealed } = row
    if (wrappedKey === null || sealed === null)
      throw new AppError("secrets.unreadable", `the secret "${row.name}" has neither a value nor a reference`)
    if (!ring.has(row.generation)) await reload()
    return unseal(ring.get(row.generation), { account, name: row.name, version: row.version }, { wrappedKey, sealed })
  }

  async function open(
    account: string,
    names: readonly string[],
    rows: readonly SecretVersionRow[],
  ): Promise<Record<string, SecretValue>> {
    const missing = names.find((name) => !rows.some((row) => row.name === name))
    if (missing !== undefined)
      throw new AppError(
        "secrets.not-found",
        `there is no secret "${missing}" in this account, or no longer that version`,
      )
    const entries = await Promise.all(
      rows.map(async (row) => [row.name, { version: row.version, value: await valueOf(account, row) }] as const),
    )
    const due = rows.filter(({ isUseDue }) => isUseDue).map(({ name }) => name)
    if (due.length > 0) await noteUse(sql, account, due)
    return Object.fromEntries(entries)
  }

  return {
    async read(account, names) {
      return open(account, names, await readCurrent(sql, account, names))
    },
    async readVersions(account, places) {
      const names = places.map(({ name }) => name)
      return open(account, names, await readVersions(sql, account, places))
    },
    async versions(account, names) {
      const rows = await readCurrent(sql, account, names)
      return Object.fromEntries(rows.map(({ name, version }) => [name, version]))
    },
  }
}
