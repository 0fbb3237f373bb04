--! oldest-program: 0.1.0
create table enrollment_keys (
  account text not null,
  id text not null,
  name text,
  secret_hash text not null,
  uses_max int not null,
  uses_count int not null default 0,
  expires_at timestamptz not null,
  source_ranges text[] not null,
  tags jsonb not null,
  tags_allowed text[] not null,
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  created_by text not null,
  revoked_at timestamptz,
  constraint enrollment_keys_pkey primary key (account, id),
  constraint enrollment_keys_uses check (uses_count between 0 and uses_max)
);
comment on table enrollment_keys is 'configuration';

create table nodes (
  id text not null,
  account text not null,
  name text not null,
  -- Ed25519, SPKI in base64: all that the server ever knows of the node's key
  public_key text not null,
  -- The machine that uses the key; null until a session names it, and after a release
  machine_id text,
  enrolled_with text not null,
  tags jsonb not null,
  agent_version text,
  os text,
  architecture text,
  packages_installed int,
  packages_pending int,
  online boolean not null default false,
  held_at timestamptz,
  version bigint not null default 1,
  enrolled_at timestamptz not null default now(),
  last_seen_at timestamptz,
  constraint nodes_pkey primary key (id)
) with (fillfactor = 70);
comment on table nodes is 'aggregate: id';
-- nodes.list, and a node found by its name
create index nodes_account_name_idx on nodes (account, name);
-- nodes.resolve: pages in the order of ids
create index nodes_account_id_idx on nodes (account, id);
-- tag queries
create index nodes_tags_idx on nodes using gin (tags jsonb_path_ops);
-- what a server that stopped hard left behind
create index nodes_online_idx on nodes (id) where online;

-- A node has one name and one public key of its account, and no index of `nodes` may cross aggregates.
create table node_claims (
  account text not null,
  kind text not null,
  value text not null,
  node_id text not null,
  constraint node_claims_pkey primary key (account, kind, value),
  constraint node_claims_kind check (kind in ('name', 'public-key'))
);
comment on table node_claims is 'stand-alone: a name or a public key is claimed before it belongs to a node';

create table node_inventories (
  node_id text not null references nodes (id) on delete cascade,
  account text not null,
  digest text not null,
  inventory jsonb not null,
  collected_at timestamptz not null,
  constraint node_inventories_pkey primary key (node_id)
);
comment on table node_inventories is 'aggregate: node_id';

create table node_groups (
  account text not null,
  name text not null,
  id text not null,
  description text,
  query text,
  nodes text[],
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  changed_at timestamptz not null default now(),
  constraint node_groups_pkey primary key (account, name)
);
comment on table node_groups is 'configuration';
