--! oldest-program: 0.1.0
-- Which version of each part of the configuration is in force; every server polls it and reloads what changed (D1).
create table configuration_versions (
  account text not null,
  component text not null,
  version bigint not null,
  constraint configuration_versions_pkey primary key (account, component)
);
comment on table configuration_versions is 'configuration';
