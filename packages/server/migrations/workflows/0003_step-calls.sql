-- Steps that the server performs for a task: written before the call leaves, completed with what came of it. A row
-- that another process left incomplete is performed again only where that is safe.
create table execution_step_calls (
  execution_id text not null,
  ordinal int not null,
  attempt int not null,
  phase text not null,
  step int not null,
  try int not null,
  account text not null,
  performer text not null,
  answer json,
  started_at timestamptz not null default now(),
  finished_at timestamptz,
  constraint execution_step_calls_pkey primary key (execution_id, ordinal, attempt, phase, step, try)
);
comment on table execution_step_calls is 'aggregate: execution_id';
