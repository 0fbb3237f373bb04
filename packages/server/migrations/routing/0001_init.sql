--! oldest-program: 0.1.0
-- The routing map: which sub-services an operation goes to. Rows of the account '*' hold for the installation.
create table routes (
  account text not null,
  operation text not null,
  services text[] not null,
  version bigint not null default 1,
  changed_at timestamptz not null default now(),
  changed_by text not null,
  constraint routes_pkey primary key (account, operation)
);
comment on table routes is 'configuration';
