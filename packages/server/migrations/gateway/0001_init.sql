--! oldest-program: 0.1.0
-- Secrets are named in `spec` and kept by the secrets service: no row holds one.
create table external_services (
  account text not null references accounts (account),
  name text not null,
  id text not null,
  description text,
  spec jsonb not null,
  document text not null,
  version bigint not null default 1,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint external_services_pkey primary key (account, name)
);
comment on table external_services is 'configuration';
