-- The approvals that steps of an execution wait for, each asked once: the row stands before it is asked, and names the
-- request. `ordinal` is -1 where all targets share it. `result` is what came of it.
create table execution_approvals (
  execution_id text not null,
  step int not null,
  ordinal int not null,
  account text not null,
  request_id text not null,
  digest text not null,
  asked_at timestamptz not null default now(),
  ended_at timestamptz,
  result json,
  constraint execution_approvals_pkey primary key (execution_id, step, ordinal)
);
comment on table execution_approvals is 'aggregate: execution_id';
create index execution_approvals_request on execution_approvals (request_id);
create index execution_approvals_open on execution_approvals (execution_id) where ended_at is null;

-- In whose name a schedule's run was started: its approvals are asked for this principal.
alter table executions add column author text;
