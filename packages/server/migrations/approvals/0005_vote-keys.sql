--! oldest-program: 0.1.0
-- Keys that members sign votes with: public halves, and kept for ever, so that what they signed can be checked later.
create table vote_keys (
  account text not null references accounts (account),
  -- SHA-256 of the public key
  id text not null,
  member jsonb not null,
  public_key text not null,
  note text,
  version bigint not null default 1,
  created_at timestamptz not null,
  revoked_at timestamptz,
  revoked_by text,
  constraint vote_keys_pkey primary key (account, id)
);
comment on table vote_keys is 'configuration';

-- The vote, signed by who gave it: a DSSE envelope in JSON.
alter table approval_votes add column signature text;
