--! oldest-program: 0.1.0
-- People who log in. What is given by hand and what a provider's groups gave at the last login are kept apart, so that
-- a login replaces only its own part. `code_hash` is of the one-time code that sets a password.
create table users (
  account text not null references accounts (account),
  id text not null,
  name text not null,
  display_name text not null,
  email text,
  roles text[] not null,
  teams text[] not null,
  claimed_roles text[] not null default '{}',
  claimed_teams text[] not null default '{}',
  provider text,
  issuer text,
  subject text,
  password_hash text,
  code_hash text,
  code_expires_at timestamptz,
  disabled_at timestamptz,
  last_login_at timestamptz,
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  created_by text not null,
  constraint users_pkey primary key (account, id),
  constraint users_name unique (account, name),
  constraint users_identity unique (account, issuer, subject)
);
comment on table users is 'configuration';

create table service_accounts (
  account text not null references accounts (account),
  id text not null,
  name text not null,
  display_name text not null,
  roles text[] not null,
  teams text[] not null,
  disabled_at timestamptz,
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  created_by text not null,
  constraint service_accounts_pkey primary key (account, id),
  constraint service_accounts_name unique (account, name)
);
comment on table service_accounts is 'configuration';

-- Keys of before belong to nobody: each stays the principal that records name.
alter table api_keys add column owner text;

create table identity_providers (
  account text not null references accounts (account),
  id text not null,
  name text not null,
  spec jsonb not null,
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  changed_at timestamptz not null default now(),
  changed_by text not null,
  constraint identity_providers_pkey primary key (account, id),
  constraint identity_providers_name unique (account, name)
);
comment on table identity_providers is 'configuration';

-- `directory_version`: the version of the account's sessions at which the row last changed, so that servers load only
-- what is new to them.
create table user_sessions (
  user_id text not null,
  id text not null,
  account text not null,
  token_hash text not null,
  provider text,
  logout_url text,
  source_address text,
  created_at timestamptz not null default now(),
  used_at timestamptz not null,
  expires_at timestamptz not null,
  revoked_at timestamptz,
  directory_version bigint not null,
  constraint user_sessions_pkey primary key (user_id, id)
);
comment on table user_sessions is 'aggregate: user_id';
create index user_sessions_changed on user_sessions (account, directory_version);
create index user_sessions_end on user_sessions (expires_at);

create table login_attempts (
  bucket text not null,
  attempts int not null,
  window_ends_at timestamptz not null,
  constraint login_attempts_pkey primary key (bucket)
);
comment on table login_attempts is 'stand-alone: counts for a name or an address, whether or not anybody has it';
create index login_attempts_end on login_attempts (window_ends_at);

create table provider_logins (
  attempt_hash text not null,
  account text not null,
  provider text not null,
  issuer text not null,
  state text not null,
  nonce text not null,
  code_verifier text not null,
  redirect_uri text not null,
  expires_at timestamptz not null,
  constraint provider_logins_pkey primary key (attempt_hash)
);
comment on table provider_logins is 'stand-alone: a login that has not ended belongs to nobody yet';
create index provider_logins_end on provider_logins (expires_at);
