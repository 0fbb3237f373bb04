--! oldest-program: 0.1.0
create table change_calendars (
  account text not null,
  name text not null,
  id text not null,
  description text,
  default_state text not null,
  zone text,
  url text,
  url_secret text,
  count_transparent boolean not null,
  holds json not null,
  freeze_template text,
  -- of a subscribed calendar
  refresh_ms bigint,
  stale_ms bigint,
  -- absent until it has a document
  document_version bigint,
  meaning text,
  events_count int not null,
  ignored_count int not null,
  fetch_at timestamptz,
  fetched_at timestamptz,
  etag text,
  failures int not null default 0,
  failed_at timestamptz,
  failure text,
  told_stale boolean not null default false,
  version bigint not null default 1,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint change_calendars_pkey primary key (account, name)
);
comment on table change_calendars is 'configuration';
-- what is to be fetched
create index change_calendars_fetch on change_calendars (fetch_at) where fetch_at is not null;

create table change_calendar_versions (
  calendar_id text not null,
  version bigint not null,
  account text not null,
  default_state text not null,
  document text not null,
  meaning text not null,
  events_count int not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint change_calendar_versions_pkey primary key (calendar_id, version)
);
comment on table change_calendar_versions is 'aggregate: calendar_id';

create table calendar_feeds (
  account text not null,
  id text not null,
  calendar text not null,
  note text,
  secret_hash text not null,
  created_at timestamptz not null,
  created_by text not null,
  constraint calendar_feeds_pkey primary key (account, id)
);
comment on table calendar_feeds is 'configuration';

create table break_glass_reviews (
  id text not null,
  account text not null,
  operation text not null,
  request_id text not null,
  principal text not null,
  reason text not null,
  calendars text[] not null,
  opened_at timestamptz not null,
  closed_at timestamptz,
  closed_by text,
  comment text,
  constraint break_glass_reviews_pkey primary key (id)
);
comment on table break_glass_reviews is 'aggregate: id';
-- the newest of an account
create index break_glass_reviews_newest on break_glass_reviews (account, opened_at desc, id);
