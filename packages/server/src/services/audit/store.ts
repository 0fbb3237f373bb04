import type { Sql } from "../../storage/database.ts"
import type { AuditRow } from "./model.ts"

const columns = "id, time, principal, operation, subject, outcome, cause, caused_by, source_address, input_digest"

export interface AuditFilter {
  readonly account: string
  readonly operation?: string | undefined
  readonly principal?: string | undefined
  readonly subject?: string | undefined
  /** An outcome, or `refused` for all but `done` and `held`. */
  readonly outcome?: string | undefined
  /** Instants: from the first on, before the second. */
  readonly from?: number | undefined
  readonly to?: number | undefined
  readonly before?: { readonly time: number; readonly id: string } | undefined
  readonly limit: number
}

/** The newest first. */
export async function listAudit(sql: Sql, filter: AuditFilter): Promise<AuditRow[]> {
  return sql.query<AuditRow>(
    `select ${columns} from audit
     where account = $1 and ($2::text is null or operation = $2) and ($3::text is null or principal = $3)
       and ($4::text is null or subject = $4)
       and ($8::text is null or outcome = $8 or ($8 = 'refused' and outcome not in ('done', 'held')))
       and ($9::float8 is null or date_trunc('milliseconds', time at time zone 'UTC') >= to_timestamp($9::float8 / 1000) at time zone 'UTC')
       and ($10::float8 is null or date_trunc('milliseconds', time at time zone 'UTC') < to_timestamp($10::float8 / 1000) at time zone 'UTC')
       and ($5::float8 is null or (date_trunc('milliseconds', time at time zone 'UTC'), id) < (to_timestamp($5::float8 / 1000) at time zone 'UTC', $6))
     order by date_trunc('milliseconds', time at time zone 'UTC') desc, id desc limit $7`,
    [
      filter.account,
      filter.operation ?? null,
      filter.principal ?? null,
      filter.subject ?? null,
      filter.before?.time ?? null,
      filter.before?.id ?? "",
      filter.limit,
      filter.outcome ?? null,
      filter.from ?? null,
      filter.to ?? null,
    ],
  )
}

/** Records of one story, of one subject, or of one request; the oldest first. */
export async function findAudit(
  sql: Sql,
  by: { account: string; field: "cause" | "subject"; value: string; limit: number },
): Promise<AuditRow[]> {
  return sql.query<AuditRow>(
    `select ${columns} from audit where account = $1 and ${by.field} = $2 order by time, id limit $3`,
    [by.account, by.value, by.limit],
  )
}

export interface LatestEvent {
  readonly id: string
  readonly subject: string
  readonly time: number
  readonly data: unknown
}

/** The last event of a type, of each of these subjects. */
export async function findLatestEvents(
  sql: Sql,
  of: { readonly account: string; readonly type: string; readonly subjects: readonly string[] },
): Promise<LatestEvent[]> {
  if (of.subjects.length === 0) return []
  return sql.query<LatestEvent>(
    `select distinct on (subject) id, subject, time, data from outbox
     where account = $1 and subject = any ($2) and type = $3 order by subject, subject_version desc`,
    [of.account, of.subjects, of.type],
  )
}
