--! oldest-program: 0.1.0
create table accounts (
  account text not null,
  title text not null,
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  constraint accounts_pkey primary key (account)
);
comment on table accounts is 'configuration';

create table api_keys (
  account text not null references accounts (account),
  id text not null,
  name text not null,
  roles text[] not null,
  secret_hash text not null,
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  created_by text not null,
  expires_at timestamptz,
  revoked_at timestamptz,
  constraint api_keys_pkey primary key (account, id)
);
comment on table api_keys is 'configuration';
