--! oldest-program: 0.1.0
-- Which server holds a node's newest session. The row is written before the agent is welcomed, and removed in the
-- transaction that shows the node as offline.
create table node_sessions (
  node_id text not null references nodes (id) on delete cascade,
  account text not null,
  session_id text not null,
  server_id text not null,
  opened_at timestamptz not null default now(),
  constraint node_sessions_pkey primary key (node_id)
) with (fillfactor = 70);
comment on table node_sessions is 'aggregate: node_id';

-- Orders on their way to nodes whose session another server holds, or none. A row stays until the node has confirmed
-- the order, or its time is over.
create table agent_outbox (
  node_id text not null references nodes (id) on delete cascade,
  key text not null,
  type text not null,
  account text not null,
  -- What the order says, but its secrets
  content json not null,
  -- Its secrets, under the installation's master key
  sealed text,
  -- An order that is given again is another version of its row
  version int not null default 1,
  written_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null,
  -- The server that carries it to the node now
  taken_by text,
  constraint agent_outbox_pkey primary key (node_id, key, type),
  constraint agent_outbox_type check (type in ('start', 'rollback', 'kill'))
) with (fillfactor = 70);
comment on table agent_outbox is 'aggregate: node_id';
-- retention
create index agent_outbox_expires_idx on agent_outbox (expires_at);

-- Health checks on nodes whose session another server holds: asked and answered here, both under the master key.
create table agent_probes (
  node_id text not null references nodes (id) on delete cascade,
  id text not null,
  account text not null,
  question text not null,
  answer text,
  expires_at timestamptz not null,
  taken_by text,
  constraint agent_probes_pkey primary key (node_id, id)
);
comment on table agent_probes is 'aggregate: node_id';
