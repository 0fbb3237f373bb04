/** What a change of a request writes beside its state, as parts of the statement that writes it. */
import type { VoteRecord } from "@signalbox/approvals/types"

export interface Waiting {
  readonly key: string
  readonly level: number
}

export interface SignedVote {
  readonly vote: VoteRecord
  /** By the installation. */
  readonly envelope: string
  /** By who gave it. */
  readonly signature?: string
}

const voteRecord = `number int, level int, level_name text, member jsonb, voter jsonb, choice text, digest text, revision int,
  via text, comment text, at timestamptz, envelope text, signature text`

const voteColumns = voteRecord.replaceAll(/ (?:int|text|jsonb|timestamptz)(?=,|$)/g, "")

/** Who cast what and who has to answer now. The names of its values, `$1` and so on, are the statement's. */
export const effectsStatement = ({
  id,
  account,
  votes,
  gone,
  come,
  now,
}: Record<"id" | "account" | "votes" | "gone" | "come" | "now", string>): string => `
  votes as (
    insert into approval_votes (request_id, account, ${voteColumns})
    select ${id}, ${account}, ${voteColumns} from jsonb_to_recordset(${votes}) as v (${voteRecord})),
  gone as (delete from approval_waits where request_id = ${id} and member_key = any (${gone}::text[])),
  come as (
    insert into approval_waits (request_id, member_key, account, level, since)
    select ${id}, key, ${account}, level, to_timestamp(${now}::float8 / 1000)
    from jsonb_to_recordset(${come}) as w (key text, level int)
    on conflict (request_id, member_key) do update set level = excluded.level, since = excluded.since)`

/** What a change of a request brings with it. */
export interface RequestEffects {
  readonly votes: readonly SignedVote[]
  /** Rows of who has to answer: those that go, and those that come; none that stays is touched. */
  readonly gone: readonly string[]
  readonly come: readonly Waiting[]
  readonly now: number
}

function votesText(votes: readonly SignedVote[]): string {
  const rows = votes.map(({ vote, envelope, signature }) => ({
    number: vote.number,
    level: vote.level,
    level_name: vote.levelName,
    member: vote.member,
    voter: vote.by,
    choice: vote.choice,
    digest: vote.digest,
    revision: vote.revision,
    via: vote.via,
    comment: vote.comment ?? null,
    at: new Date(vote.at).toISOString(),
    envelope,
    signature: signature ?? null,
  }))
  return JSON.stringify(rows)
}

/** In the order `votes`, `gone`, `come`, `now`. */
export function effectValues({ votes, gone, come, now }: RequestEffects): unknown[] {
  return [votesText(votes), gone, JSON.stringify(come), now]
}
