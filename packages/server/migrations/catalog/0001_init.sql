--! oldest-program: 0.1.0
-- A product that was removed keeps its versions: instances name them.
create table catalog_products (
  account text not null references accounts (account),
  name text not null,
  id text not null,
  version int not null,
  definition jsonb not null,
  removed boolean not null default false,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint catalog_products_pkey primary key (account, name)
);
comment on table catalog_products is 'configuration';

create table catalog_product_versions (
  account text not null,
  name text not null,
  version int not null,
  definition jsonb not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint catalog_product_versions_pkey primary key (account, name, version),
  constraint catalog_product_versions_of foreign key (account, name) references catalog_products (account, name)
);
comment on table catalog_product_versions is 'configuration';

create table catalog_portfolios (
  account text not null references accounts (account),
  name text not null,
  id text not null,
  version int not null,
  definition jsonb not null,
  -- what it imports; both null where it has products of its own
  source_account text,
  source_name text,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint catalog_portfolios_pkey primary key (account, name)
);
comment on table catalog_portfolios is 'configuration';
create index catalog_portfolios_by_source on catalog_portfolios (source_account, source_name)
  where source_name is not null;

-- `chain` has the ids of the portfolios that it was launched through, from its own to the one that has the product:
-- quotas of each of them count it. `order_number` is that of its latest order.
create table catalog_instances (
  id text not null,
  account text not null,
  name text,
  state text not null,
  portfolio text not null,
  chain text[] not null,
  provider_account text not null,
  product text not null,
  product_version int not null,
  region text,
  parameters jsonb not null,
  owner text not null,
  outputs jsonb not null,
  secret_names text[] not null,
  -- sealed; gone when the instance has ended
  secret_outputs text,
  reason text,
  order_number int not null,
  expires_at timestamptz,
  version int not null,
  cause text not null,
  depth int not null,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  ended_at timestamptz,
  constraint catalog_instances_pkey primary key (id)
);
comment on table catalog_instances is 'aggregate: id';
create index catalog_instances_by_account on catalog_instances (account, id);
-- quotas
create index catalog_instances_live on catalog_instances using gin (chain) where ended_at is null;
create index catalog_instances_of_product on catalog_instances (provider_account, product) where ended_at is null;
-- what ends by itself
create index catalog_instances_expiring on catalog_instances (expires_at) where expires_at is not null;
-- retention
create index catalog_instances_ended on catalog_instances (ended_at) where ended_at is not null;

create table catalog_orders (
  instance_id text not null,
  number int not null,
  account text not null,
  provider_account text not null,
  provisioner text not null,
  kind text not null,
  state text not null,
  -- what is to be: the product's version and the parameters
  product_version int not null,
  parameters jsonb not null,
  epoch int not null,
  -- from when it can be claimed: its making, then the end of the latest lease
  available_at timestamptz not null,
  percent real,
  message text,
  cause text not null,
  caused_by text not null,
  depth int not null,
  created_at timestamptz not null,
  finished_at timestamptz,
  constraint catalog_orders_pkey primary key (instance_id, number),
  constraint catalog_orders_of foreign key (instance_id) references catalog_instances (id)
);
comment on table catalog_orders is 'aggregate: instance_id';
create index catalog_orders_open on catalog_orders (provider_account, provisioner, available_at)
  where finished_at is null;
create index catalog_orders_by_provisioner on catalog_orders (provider_account, provisioner, instance_id, number);
