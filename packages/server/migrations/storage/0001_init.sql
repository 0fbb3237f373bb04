-- What every service writes beside its own state: events, and the answers of repeated calls; and what servers keep.

-- Transaction ids of another cluster mean nothing here. A restore or a move sets the base so that every new position
-- comes after every restored one, and readers' cursors stay valid.
create table outbox_base (
  id text primary key default 'outbox' check (id = 'outbox'),
  xid_base bigint not null default 0
);
comment on table outbox_base is 'stand-alone: one row, set by restore and move';
insert into outbox_base default values;

create function outbox_position(x xid8) returns xid8 language sql stable
  return (x::text::bigint + (select xid_base from outbox_base))::text::xid8;

create table outbox (
  account text not null,
  aggregate_id text not null,
  id text not null,
  xid xid8 not null default outbox_position(pg_current_xact_id()),
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
  cursor text,
  updated_at timestamptz not null default now()
);
comment on table consumer is 'stand-alone: how far each consumer of this installation has read the outbox';

-- Events that a consumer gave up on.
create table dead_letter (
  account text not null,
  aggregate_id text not null,
  event_id text not null,
  consumer text not null,
  attempts int not null,
  reason text not null,
  failed_at timestamptz not null default now(),
  event jsonb not null,
  primary key (aggregate_id, event_id, consumer)
);
comment on table dead_letter is 'aggregate: aggregate_id';
create index dead_letter_age on dead_letter (account, failed_at);

create table server (
  id text primary key,
  worker_ids text[] not null default '{}',
  started_at timestamptz not null default now(),
  leased_until timestamptz not null
);
comment on table server is 'stand-alone: the server processes of this installation, each by a lease it renews';
