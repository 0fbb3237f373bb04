--! oldest-program: 0.1.0
-- The public halves of the keys that servers of this installation sign with, so that what an earlier key signed can be
-- checked. The private halves are files.
create table signing_keys (
  key_id text primary key,
  public_key text not null,
  created_at timestamptz not null default now()
);
comment on table signing_keys is 'stand-alone: keys of the installation, not of an account';
