-- The tables of a run's tasks grow by thousands of rows at once, and their statistics are taken while the run goes on. By
-- default that is of 30,000 rows and of every column, and took more of the database's time than writing the rows. What
-- nobody searches by is left out, the rest is judged by 3,000 rows.
alter table execution_targets
  alter column execution_id set statistics 10,
  alter column ordinal set statistics 10,
  alter column account set statistics 10,
  alter column node_id set statistics 10,
  alter column node_name set statistics 10,
  alter column tags set statistics 0,
  alter column domain set statistics 10,
  alter column origin_ordinal set statistics 10,
  alter column origin_attempt set statistics 0,
  alter column runner set statistics 10;
alter table execution_tasks
  alter column execution_id set statistics 10,
  alter column ordinal set statistics 10,
  alter column account set statistics 10,
  alter column state set statistics 10,
  alter column rollback set statistics 10,
  alter column attempt set statistics 10,
  alter column class set statistics 10,
  alter column message set statistics 0,
  alter column started_at set statistics 10,
  alter column finished_at set statistics 10,
  alter column outcome set statistics 0,
  alter column rollback_outcome set statistics 0;
