/**
 * Of a request's state what is shown of it in lists. A state holds every seat and question, a hundred of them are half a
 * megabyte; so lists have the database take out what they show. Pure.
 */
import type { LevelRule } from "@signalbox/approvals/template-rules"
import type { Question, RequestState } from "@signalbox/approvals/types"

type Kept = "state" | "attributes" | "requester" | "revision" | "digest" | "level" | "unmatchedUntil" | "outcome"

export interface ShownState extends Pick<RequestState, Kept> {
  /** Null where none matched. */
  readonly template: { readonly name: string; readonly version: number; readonly levelsCount: number } | null
  /** Of the level in hand; null before the first one opens, and once its clocks have stopped. */
  readonly levelExpiresAt: number | null
  readonly levelRule: Pick<LevelRule, "name" | "signedVotes"> | null
  /** The last one. */
  readonly question: Question | null
}

export function shownStateOf(state: RequestState): ShownState {
  const { template, level, levels, questions } = state
  return {
    ...state,
    template: template && { name: template.name, version: template.version, levelsCount: template.rule.levels.length },
    levelRule: template?.rule.levels[level - 1] ?? null,
    levelExpiresAt: levels[level - 1]?.timers?.expiresAt ?? null,
    question: questions.at(-1) ?? null,
  }
}

/**
 * The same in SQL, of the state `s`. Level 0 would be the last one of a JSON array.
 *
 * @returns an expression of type jsonb
 */
export const shownStateSql = `jsonb_build_object('state', s->'state', 'attributes', s->'attributes',
  'requester', s->'requester', 'revision', s->'revision', 'digest', s->'digest', 'level', s->'level',
  'unmatchedUntil', s->'unmatchedUntil', 'outcome', s->'outcome', 'question', s->'questions'->-1,
  'template', case jsonb_typeof(s->'template') when 'object' then jsonb_build_object('name', s->'template'->'name',
    'version', s->'template'->'version', 'levelsCount', jsonb_array_length(s->'template'->'rule'->'levels')) end,
  'levelRule', case when (s->'level')::int > 0 then
    s #> array['template', 'rule', 'levels', ((s->'level')::int - 1)::text] end,
  'levelExpiresAt', case when (s->'level')::int > 0 then
    s #> array['levels', ((s->'level')::int - 1)::text, 'timers', 'expiresAt'] end)`
