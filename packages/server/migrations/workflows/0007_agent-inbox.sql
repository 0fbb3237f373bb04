--! oldest-program: 0.1.0
-- Reports of nodes on their way to the server that owns the execution. The owner removes a row once it has the report;
-- the node keeps a result until the owner has made it durable, so nothing depends on these rows alone.
create table agent_inbox (
  -- The run that waits for the report: of a rollback's the run that puts the other one back, where there is one
  execution_id text not null,
  key text not null,
  type text not null,
  phase text not null,
  account text not null,
  report json not null,
  written_at timestamptz not null default clock_timestamp(),
  constraint agent_inbox_pkey primary key (execution_id, key, type, phase)
);
comment on table agent_inbox is 'aggregate: execution_id';
-- retention
create index agent_inbox_written_idx on agent_inbox (written_at);
