-- The rule that a schedule belongs to: it calls nothing, its instants are events that the rule waits for.
alter table schedules add column rule text;
alter table schedules alter column operation drop not null;
alter table schedules add constraint schedules_purpose check ((rule is null) <> (operation is null));
create index schedules_by_rule on schedules (account, rule) where rule is not null;
alter table schedule_firings alter column operation drop not null;
