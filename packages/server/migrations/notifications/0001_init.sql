--! oldest-program: 0.1.0
-- Secrets are named here and kept by the secrets service: no row of these tables holds one.
create table channels (
  account text not null references accounts (account),
  name text not null,
  id text not null,
  description text,
  via text not null,
  spec jsonb not null,
  dropped bigint not null default 0,
  version bigint not null default 1,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint channels_pkey primary key (account, name)
);
comment on table channels is 'configuration';

-- `since`: events before it are not delivered, so that a reader that is behind tells nobody of old ones.
create table subscriptions (
  account text not null,
  name text not null,
  id text not null,
  description text,
  channel text not null,
  events text[] not null,
  condition text,
  throttle_ms bigint,
  throttle_by text,
  enabled boolean not null,
  since timestamptz not null,
  last_error text,
  last_error_at timestamptz,
  version bigint not null default 1,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint subscriptions_pkey primary key (account, name),
  constraint subscriptions_channel foreign key (account, channel) references channels (account, name)
);
comment on table subscriptions is 'configuration';
create index subscriptions_by_channel on subscriptions (account, channel);

-- One message to one channel. `held_back` counts events that its throttle kept from being delivered after it.
create table deliveries (
  id text not null,
  account text not null,
  state text not null,
  channel text not null,
  via text not null,
  subscription text,
  throttle_group text,
  message_id text not null,
  event jsonb not null,
  message jsonb not null,
  attempts int not null default 0,
  tries jsonb not null default '[]',
  next_at timestamptz,
  claimed_until timestamptz,
  last_error text,
  held_back int not null default 0,
  suppressed int not null default 0,
  redelivery_of text,
  cause text not null,
  depth int not null,
  created_at timestamptz not null,
  finished_at timestamptz,
  constraint deliveries_pkey primary key (id),
  constraint deliveries_end check ((state = 'pending') = (finished_at is null))
);
comment on table deliveries is 'aggregate: id';
create index deliveries_by_age on deliveries (account, created_at, id);
create index deliveries_age on deliveries (created_at);
create index deliveries_due on deliveries (next_at) where state = 'pending';
create index deliveries_waiting on deliveries (account, channel, next_at) where state = 'pending';
create index deliveries_throttled on deliveries (account, subscription, throttle_group, created_at)
  where throttle_group is not null;
