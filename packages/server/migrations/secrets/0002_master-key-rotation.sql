--! oldest-program: 0.1.0
-- Values are sealed under generations of keys that lie here themselves, wrapped under the master key: one row for each
-- master key that opens the installation, so that while it is changed both do.
create table secret_key_slots (
  fingerprint text not null,
  generation integer not null,
  wrapped_key bytea not null,
  created_at timestamptz not null default now(),
  constraint secret_key_slots_pkey primary key (fingerprint, generation)
);
comment on table secret_key_slots is 'stand-alone: the keys of the installation, a few for each master key that opens them';

-- By which master key each server opened them last.
create table secret_key_users (
  server_id text not null,
  fingerprint text not null,
  generation integer not null,
  seen_at timestamptz not null default now(),
  constraint secret_key_users_pkey primary key (server_id)
);
comment on table secret_key_users is 'stand-alone: which servers have which master key; those that are gone are removed by the next rotation';

alter table secret_master_key
  -- Under which values are sealed now.
  add column generation integer not null default 1,
  -- The change of the master key that is under way.
  add column rotation jsonb,
  add column rotated_at timestamptz;

-- What was stored before this lies under generation 1, whose key is the master key of then.
alter table secret_versions add column generation integer not null default 1;
