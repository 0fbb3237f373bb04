-- What every service writes beside its own state: events, and the answers of repeated calls; and what servers keep.

create table outbox (
  account text not null,
  aggregate_id text not null,
  id text not null,
  xid xid8 not null default pg_current_xact_id(),
  type text not null,
  subject text not null,
  subject_version bigint not null,
  cause text not null,
  caused_by text not null,
  depth int not null,
  time timestamptz not null default now(),
  principal text not null,
  data jsonb not null,
  primary key (aggregate_id, id)
);
comment on table outbox is 'aggregate: aggregate_id';
create index outbox_order on outbox (xid, id);

-- The caller makes the id from account, principal and key, so that one row answers without another index.
create table idempotency (
  id text primary key,
  account text not null,
  operation text not null,
  body_hash text not null,
  status int,
  response jsonb,
  created_at timestamptz not null default now()
);
comment on table idempotency is 'stand-alone: a record of one call, found by the call''s own key';
create index idempotency_age on idempotency (created_at);

create table consumer (
  name text primary key,
  cursor text not null,
  updated_at timestamptz not null default now()
);
comment on table consumer is 'stand-alone: how far each consumer of this installation has read the outbox';

create table server (
  id text primary key,
  worker_ids text[] not null default '{}',
  started_at timestamptz not null default now(),
  leased_until timestamptz not null
);
comment on table server is 'stand-alone: the server processes of this installation, each by a lease it renews';
