--! oldest-program: 0.1.0
-- Closed calendars whose own approvers were asked too, or that were skipped: these no longer keep the call from running.
alter table held_operations add column calendars text[] not null default '{}';
