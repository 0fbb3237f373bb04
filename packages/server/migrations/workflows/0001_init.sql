create table workflows (
  account text not null,
  name text not null,
  version int not null,
  created_at timestamptz not null default now(),
  constraint workflows_pkey primary key (account, name)
);
comment on table workflows is 'configuration';

create table workflow_versions (
  account text not null,
  name text not null,
  version int not null,
  description text,
  document text not null,
  definition json not null,
  digest text not null,
  created_at timestamptz not null default now(),
  created_by text not null,
  constraint workflow_versions_pkey primary key (account, name, version),
  foreign key (account, name) references workflows (account, name)
);
comment on table workflow_versions is 'configuration';

-- One run of a workflow. Written with each batch of its tasks, so the row is kept small and no index names a column
-- that changes before the end. `next_ordinal` stands for the targets that have no task row yet: below it they are
-- starting their first attempt, from it on they are queued, or never started once `stop` is set.
create table executions (
  id text not null,
  account text not null,
  state text not null,
  reason text,
  workflow_name text not null,
  workflow_version int,
  targets_text text not null,
  targets_count int not null,
  targets_digest text,
  concurrency text not null,
  width int not null,
  error_limit text not null,
  errors_max int not null,
  in_flight int not null default 0,
  next_ordinal int not null default 0,
  stop json,
  counts json not null,
  rollbacks json not null,
  version bigint not null,
  wish text not null default 'run',
  wish_version int not null default 0,
  wish_by text,
  wish_reason text,
  owner text,
  epoch bigint not null default 0,
  leased_until timestamptz,
  note text,
  cause text not null,
  caused_by text not null,
  depth int not null,
  created_at timestamptz not null default now(),
  created_by text not null,
  started_at timestamptz,
  finished_at timestamptz,
  outputs_removed boolean not null default false,
  constraint executions_pkey primary key (id)
) with (fillfactor = 40);
comment on table executions is 'aggregate: id';
-- executions.list: the newest first; ids sort by time
create index executions_account on executions (account, id desc);
create index executions_workflow on executions (account, workflow_name, id desc);
-- owners look for executions to take over, retention for those that ended
create index executions_open on executions (id) where finished_at is null;
create index executions_ended on executions (finished_at) where finished_at is not null;

-- What a run does, frozen when it was made; read by its owner and by nobody else.
create table execution_plans (
  execution_id text not null,
  account text not null,
  definition json not null,
  parameters json not null,
  targets json not null,
  targets_max int not null,
  constraint execution_plans_pkey primary key (execution_id)
);
comment on table execution_plans is 'aggregate: execution_id';

-- The frozen targets of a run; written once, at the plan.
create table execution_targets (
  execution_id text not null,
  ordinal int not null,
  account text not null,
  node_id text not null,
  node_name text not null,
  tags json,
  constraint execution_targets_pkey primary key (execution_id, ordinal)
);
comment on table execution_targets is 'aggregate: execution_id';
-- tasks.get by a node's name, executions.list by node
create index execution_targets_node on execution_targets (node_name, execution_id);

-- A target's task and its result, from the first thing that `executions.next_ordinal` does not say: most rows are
-- written once, complete (measured: half the cost of writing them at the plan and filling them in).
create table execution_tasks (
  execution_id text not null,
  ordinal int not null,
  account text not null,
  state text not null,
  rollback text not null,
  attempt int not null,
  class text,
  message text,
  started_at timestamptz,
  finished_at timestamptz,
  outcome json,
  rollback_outcome json,
  constraint execution_tasks_pkey primary key (execution_id, ordinal)
) with (fillfactor = 70);
comment on table execution_tasks is 'aggregate: execution_id';
