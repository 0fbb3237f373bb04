/** Checks the audit chains of a whole database: after a restore, a move, before a backup. */
import { chainStart, ChainCheck, readCheckpoint, type ChainFault, type Checkpoint } from "./audit-chain.ts"
import { findChainHead, findFirstNumber, firstPosition, readChainPage, type ChainPage } from "./audit-pages.ts"
import type { Sql } from "./database.ts"
import type { SignedEnvelope } from "@signalbox/contracts/approvals/signed-votes"
import { listSigningKeys } from "./signing-key.ts"

export interface AuditVerdict {
  /** Sealed records that fit, of all accounts. */
  readonly records: number
  /** The first place of each chain that does not fit. */
  readonly faults: ReadonlyArray<ChainFault & { readonly account: string }>
}

const pageSeals = 1000
const accountsPerPage = 1000

/** Undefined where the data are of a time before chains. */
export async function verifyAuditChains(sql: Sql): Promise<AuditVerdict | undefined> {
  const [table] = await sql.query<{ there: boolean }>("select to_regclass('audit_chains') is not null as there")
  if (table?.there !== true) return undefined
  const publicKeys = (await listSigningKeys(sql)).map(({ publicKey }) => publicKey)
  const faults: Array<ChainFault & { account: string }> = []
  let records = 0
  let after = ""
  while (true) {
    const chains = await sql.query<{ account: string }>(
      "select account from audit_chains where account > $1 order by account limit $2",
      [after, accountsPerPage],
    )
    for (const { account } of chains) {
      const { last, fault } = await verifyChain(sql, account, publicKeys)
      records += last
      if (fault) faults.push({ ...fault, account })
    }
    after = chains.at(-1)?.account ?? after
    if (chains.length < accountsPerPage) return { records, faults }
  }
}

async function verifyChain(
  sql: Sql,
  account: string,
  publicKeys: readonly string[],
): Promise<{ last: number; fault?: ChainFault }> {
  const head = await findChainHead(sql, account)
  const signed = await readCheckpoints(sql, account, publicKeys)
  if (signed.fault) return { last: 0, fault: signed.fault }
  // Where an installation took out the beginning, a signed checkpoint stands in its place.
  const first = await findFirstNumber(sql, account)
  const begin = signed.checkpoints.find(({ number }) => number === first - 1)
  const check = new ChainCheck({ account, start: begin ?? chainStart })
  for (const checkpoint of signed.checkpoints) if (checkpoint.number >= check.last.number) check.expect(checkpoint)
  let afterPosition = begin ? undefined : firstPosition
  while (true) {
    const { last } = check
    const page = { account, afterNumber: last.number, afterPosition, upToNumber: head.number, limit: pageSeals }
    const { items, unsealed, position } = await readChainPage(sql, page)
    const fault = findPageFault(check, { items, unsealed })
    if (fault) return { last: check.last.number, fault }
    afterPosition = position
    if (items.length < pageSeals) break
  }
  const fault = check.finish(head)
  return fault ? { last: check.last.number, fault } : { last: check.last.number }
}

/** The first place of a page that doesn't fit, a record that was never sealed being one. */
export function findPageFault(
  check: ChainCheck,
  { items, unsealed }: Pick<ChainPage, "items" | "unsealed">,
): ChainFault | undefined {
  const [stranger] = unsealed
  for (const item of items) {
    const fault = check.check(item)
    const isBefore = stranger && item.record && comesBefore(stranger, item.record)
    if (isBefore) return strangerFault(stranger.id, item.number)
    if (fault) return fault
  }
  return stranger && strangerFault(stranger.id, check.last.number + 1)
}

function comesBefore(a: { position: string; id: string }, b: { position: string; id: string }): boolean {
  return BigInt(a.position) < BigInt(b.position) || (a.position === b.position && a.id < b.id)
}

const strangerFault = (id: string, number: number): ChainFault => ({
  id,
  what: `record ${id} stands before record ${number} and was never sealed`,
})

/** The signed checkpoints of an account; a signature that doesn't fit is a fault. */
async function readCheckpoints(
  sql: Sql,
  account: string,
  publicKeys: readonly string[],
): Promise<{ readonly checkpoints: Checkpoint[]; readonly fault?: ChainFault }> {
  const rows = await listCheckpoints(sql, { account, after: 0, upTo: Number.MAX_SAFE_INTEGER, limit: checkpointsMax })
  const checkpoints: Checkpoint[] = []
  for (const { number, envelope } of rows) {
    const checkpoint = readCheckpoint(envelope, publicKeys)
    if (checkpoint?.account !== account || checkpoint.number !== number)
      return {
        checkpoints,
        fault: { number, what: `the checkpoint of record ${number} was not signed by this installation` },
      }
    checkpoints.push(checkpoint)
  }
  return { checkpoints }
}

const checkpointsMax = 1_000_000

export function listCheckpoints(
  sql: Sql,
  which: { readonly account: string; readonly after: number; readonly upTo: number; readonly limit: number },
): Promise<Array<{ number: number; envelope: SignedEnvelope }>> {
  return sql.query(
    `select number, envelope from audit_checkpoints where account = $1 and number > $2 and number <= $3
     order by number limit $4`,
    [which.account, which.after, which.upTo, which.limit],
  )
}
