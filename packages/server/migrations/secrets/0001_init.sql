--! oldest-program: 0.1.0
-- A removed secret keeps its row, so that a later one of the same name does not begin at version 1 again: plans
-- record name and version.
create table secrets (
  account text not null references accounts (account),
  name text not null,
  version bigint not null,
  removed boolean not null default false,
  used_at timestamptz,
  constraint secrets_pkey primary key (account, name)
);
comment on table secrets is 'configuration';

-- The last few versions: a running execution goes on with the one it began with.
create table secret_versions (
  account text not null,
  name text not null,
  version bigint not null,
  kind text not null,
  reference text,
  wrapped_key bytea,
  sealed bytea,
  created_at timestamptz not null default now(),
  created_by text not null,
  constraint secret_versions_pkey primary key (account, name, version),
  constraint secret_versions_secret foreign key (account, name) references secrets (account, name),
  constraint secret_versions_form check ((kind = 'value') = (sealed is not null and wrapped_key is not null and reference is null))
);
comment on table secret_versions is 'configuration';

-- By which master key the wrapped keys are wrapped: a server with another one must not start.
create table secret_master_key (
  id text primary key default 'master' check (id = 'master'),
  fingerprint text not null
);
comment on table secret_master_key is 'stand-alone: one row, the fingerprint of the installation''s master key';
