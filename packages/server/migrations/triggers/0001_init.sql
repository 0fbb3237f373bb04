--! oldest-program: 0.1.0
create table signals (
  account text not null references accounts (account),
  name text not null,
  id text not null,
  description text,
  spec jsonb not null,
  version bigint not null default 1,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint signals_pkey primary key (account, name)
);
comment on table signals is 'configuration';

create table silences (
  account text not null references accounts (account),
  name text not null,
  id text not null,
  description text,
  spec jsonb not null,
  version bigint not null default 1,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint silences_pkey primary key (account, name)
);
comment on table silences is 'configuration';

-- One row for a signal on a node. It is written when the state changes, never for a sample. `silenced`: why its raising
-- was told to nobody. `missing_due_at`: the node has gone, and then the signal's rule for missing data holds.
create table signal_states (
  node_id text not null,
  signal_id text not null,
  account text not null,
  signal text not null,
  node text not null,
  labels jsonb not null,
  state text not null,
  since timestamptz not null,
  value float8,
  silenced jsonb,
  missing_due_at timestamptz,
  version bigint not null default 1,
  constraint signal_states_pkey primary key (node_id, signal_id)
);
comment on table signal_states is 'aggregate: node_id';
create index signal_states_by_signal on signal_states (account, signal_id, node, node_id);
create index signal_states_raised on signal_states (account, signal) where state in ('raised', 'clearing');
create index signal_states_silenced on signal_states (node_id, signal_id) where silenced is not null;
create index signal_states_missing on signal_states (missing_due_at) where missing_due_at is not null;

-- The address's token is kept as a hash; what the other side signs with is sealed.
create table hooks (
  account text not null references accounts (account),
  name text not null,
  id text not null,
  description text,
  spec jsonb not null,
  token_hash text,
  previous_token_hash text,
  secret text,
  previous_secret text,
  previous_until timestamptz,
  version bigint not null default 1,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint hooks_pkey primary key (account, name)
);
create unique index hooks_by_id on hooks (id);
comment on table hooks is 'configuration';

-- Ids of messages that came, as SHA-256: each counts once.
create table hook_messages (
  hook_id text not null,
  message text not null,
  account text not null,
  event text not null,
  received_at timestamptz not null,
  constraint hook_messages_pkey primary key (hook_id, message)
);
comment on table hook_messages is 'aggregate: hook_id';
create index hook_messages_age on hook_messages (received_at);

create table named_triggers (
  account text not null references accounts (account),
  name text not null,
  id text not null,
  description text,
  spec jsonb not null,
  version bigint not null default 1,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint named_triggers_pkey primary key (account, name)
);
comment on table named_triggers is 'configuration';
