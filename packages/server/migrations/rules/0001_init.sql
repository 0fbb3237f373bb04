--! oldest-program: 0.1.0
-- The rules as they are in force; `fault` says why one can't be compiled by the program that runs now.
create table rules (
  account text not null references accounts (account),
  name text not null,
  id text not null,
  version int not null,
  enabled boolean not null,
  definition jsonb not null,
  author text not null,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint rules_pkey primary key (account, name)
);
comment on table rules is 'configuration';

-- What was published: firings name it, and are performed as they were announced though the rule is changed or removed
-- in between. Versions that are not in force go after a while.
create table rule_versions (
  account text not null,
  name text not null,
  version int not null,
  definition jsonb not null,
  author text not null,
  published_at timestamptz not null,
  constraint rule_versions_pkey primary key (account, name, version)
);
comment on table rule_versions is 'configuration';
create index rule_versions_age on rule_versions (published_at);
