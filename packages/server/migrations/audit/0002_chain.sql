--! oldest-program: 0.1.0
-- The order in which records become visible (as in the outbox), which is the order in which they are sealed. The
-- records that are there already get one position, and stand in the order of their ids.
alter table audit add column xid xid8 not null default outbox_position(pg_current_xact_id());
create index audit_order_idx on audit (account, xid, id collate "C");

-- The head of each account's chain: how many records are sealed, and the last one's hash and place.
create table audit_chains (
  account text not null,
  number bigint not null default 0,
  hash text not null,
  xid xid8 not null default '0',
  id text not null default '',
  constraint audit_chains_pkey primary key (account)
);
comment on table audit_chains is 'aggregate: account';

-- One seal for each record, numbered without a gap: SHA-256 over the record, its number and the hash before it.
create table audit_seals (
  account text not null,
  number bigint not null,
  record_aggregate text not null,
  record_id text not null,
  hash text not null,
  constraint audit_seals_pkey primary key (account, number)
);
comment on table audit_seals is 'aggregate: account';

-- Heads of chains that were signed with the installation's key.
create table audit_checkpoints (
  account text not null,
  number bigint not null,
  envelope json not null,
  signed_at timestamptz not null default now(),
  constraint audit_checkpoints_pkey primary key (account, number)
);
comment on table audit_checkpoints is 'aggregate: account';
