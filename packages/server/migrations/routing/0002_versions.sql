--! oldest-program: 0.1.0
-- The versions of the routing map: each a document of what differs from the map that the program itself brings. The
-- newest is in force. Rows of the account '*' hold for the installation.
create table routing_map_versions (
  account text not null,
  version bigint not null,
  document jsonb not null,
  -- Who changed each entry last, and when, by its place: `routes.nodes.list`.
  stamps jsonb not null,
  operation text not null,
  comment text,
  request_id text,
  changed_by text not null,
  changed_at timestamptz not null default now(),
  constraint routing_map_versions_pkey primary key (account, version)
);
comment on table routing_map_versions is 'configuration';

-- All that an edit could do so far was to take an operation out.
insert into routing_map_versions (account, version, document, stamps, operation, changed_by)
select '*', 1,
       jsonb_build_object('destinations', '{}'::jsonb, 'services', '{}'::jsonb,
         'routes', coalesce(jsonb_object_agg(operation, jsonb_build_object('services', '[]'::jsonb))
                              filter (where services = '{}'), '{}'::jsonb)),
       coalesce(jsonb_object_agg('routes.' || operation, jsonb_build_object('by', changed_by,
         'at', floor(extract(epoch from changed_at) * 1000))) filter (where services = '{}'), '{}'::jsonb),
       'routes.put', 'system:routing'
from routes having count(*) > 0;

drop table routes;
