-- How a run goes over its targets, as the run and its workflow say together; null in plans of before, which have what
-- their definition says. `expected_digest`: of the targets that a plan showed. `vanished`: nodes that a retry left out.
alter table execution_plans add column strategy json;
alter table execution_plans add column expected_digest text;
alter table execution_plans add column vanished json;

-- What a takeover needs of the pace: failures by class, wave, bake and hold; and what people wish of it.
alter table executions add column classes json;
alter table executions add column wave int not null default 1;
alter table executions add column waves_count int not null default 1;
alter table executions add column bake_until timestamptz;
alter table executions add column hold json;
alter table executions add column health json;
alter table executions add column wish_width int;
alter table executions add column wish_rollback boolean not null default false;
alter table executions add column retry_of text;
alter table executions add column rollback_of text;
-- which executions roll one back, and whether one of them still does
create index executions_rollbacks on executions (account, rollback_of) where rollback_of is not null;

-- The failure domain of a target, numbered within its run; and of a rollback's target the attempt that it puts back.
alter table execution_targets add column domain int;
alter table execution_targets add column origin_ordinal int;
alter table execution_targets add column origin_attempt int;
-- tasks of an execution that others roll back
create index execution_targets_origin on execution_targets (execution_id, origin_ordinal)
  where origin_ordinal is not null;
