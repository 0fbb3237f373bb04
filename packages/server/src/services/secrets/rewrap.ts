/** Wraps the keys of values anew under another generation, page by page; values themselves are not touched. */
import type { SealedTexts } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import { rewrap } from "./envelope.ts"
import { firstGeneration, type KeyRing } from "./key-ring.ts"
import { prefixOf, rewrapText } from "./sealer.ts"
import { listOlderVersions, replaceWrappedKey } from "./store.ts"

export const rewrapPageRows = 200

export interface RewrapOptions {
  readonly sql: Sql
  readonly ring: KeyRing
  readonly generation: number
  readonly sealedTexts: readonly SealedTexts[]
  readonly signal: AbortSignal
}

/**
 * Looks through everything once; gives how many values lay under an older generation. A row that changes meanwhile is
 * left as it is: whoever changed it sealed it anew, or the next look finds it.
 */
export async function rewrapAll(options: RewrapOptions): Promise<number> {
  let found = await rewrapSecrets(options)
  for (const texts of options.sealedTexts) found += await rewrapTexts(options, texts)
  return found
}

async function rewrapSecrets({ sql, ring, generation, signal }: RewrapOptions): Promise<number> {
  let found = 0
  let after = { account: "", name: "", version: 0 }
  while (!signal.aborted) {
    const rows = await listOlderVersions(sql, { after, generation, limit: rewrapPageRows })
    for (const row of rows) {
      const wrapped = rewrap(row.wrapped_key, row, { from: ring.get(row.generation), to: ring.get(generation) })
      await replaceWrappedKey(sql, row, { wrapped, generation })
    }
    found += rows.length
    const last = rows.at(-1)
    if (!last || rows.length < rewrapPageRows) break
    after = last
  }
  return found
}

async function rewrapTexts({ sql, ring, generation, signal }: RewrapOptions, texts: SealedTexts): Promise<number> {
  if (generation === firstGeneration) return 0
  let found = 0
  let after = ""
  while (!signal.aborted) {
    const page = { after, limit: rewrapPageRows, otherThan: prefixOf(generation) }
    const rows = await texts.list(sql, page)
    for (const row of rows) {
      const text = rewrapText(ring, generation, { place: { ...row.place, use: texts.use }, text: row.text })
      await texts.replace(sql, row, text)
    }
    found += rows.length
    const last = rows.at(-1)
    if (!last || rows.length < rewrapPageRows) break
    after = last.key
  }
  return found
}
