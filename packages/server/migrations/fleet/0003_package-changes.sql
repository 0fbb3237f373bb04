--! oldest-program: 0.1.0
-- What became of packages from one inventory of a node to the next: the latest few thousand changes of each node.
create table node_package_changes (
  node_id text not null references nodes (id) on delete cascade,
  account text not null,
  package text not null,
  architecture text not null,
  -- The inventory that showed it, and the last one that did not
  seen_at timestamptz not null,
  seen_after timestamptz not null,
  -- By the machine's own clock, where its agent told
  changed_at timestamptz,
  from_version text,
  to_version text,
  constraint node_package_changes_pkey primary key (node_id, package, architecture, seen_at)
);
comment on table node_package_changes is 'aggregate: node_id';
-- retention: the oldest of a node
create index node_package_changes_age on node_package_changes (node_id, seen_at);

-- When a node's packages were looked at first: what is older than that has no history.
alter table node_inventories add column first_collected_at timestamptz;
update node_inventories set first_collected_at = collected_at;
alter table node_inventories alter column first_collected_at set default now();
alter table node_inventories alter column first_collected_at set not null;
