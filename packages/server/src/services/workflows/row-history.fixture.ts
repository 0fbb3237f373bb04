/** What the rows of runs went through, by triggers of the test's own database; and whether rows and nodes agree at the end. */
import type { OutputOf } from "@signalbox/contracts/operation"
import type { executionsGet, tasksList } from "@signalbox/contracts/workflows/operations"
import type { Database } from "../../storage/database.ts"
import type { WitnessExecutor } from "./witness-executor.fixture.ts"

const ended = ["succeeded", "failed", "aborted", "interrupted", "unreachable", "skipped", "never-started"]

export const keepHistory = {
  async begin(database: Database): Promise<void> {
    await database.query("create table history (execution_id text, fault text)")
    await database.query(`create function note_task() returns trigger language plpgsql as $$
      begin
        if old.state = any ('{${ended.join(",")}}') and new.state <> old.state or new.attempt < old.attempt then
          insert into history values (new.execution_id, format('task %s: %s of attempt %s became %s of attempt %s',
            new.ordinal, old.state, old.attempt, new.state, new.attempt));
        end if;
        return new;
      end $$`)
    await database.query(`create function note_execution() returns trigger language plpgsql as $$
      begin
        if new.next_ordinal < old.next_ordinal or new.epoch < old.epoch
           or (new.counts ->> 'succeeded')::int < (old.counts ->> 'succeeded')::int then
          insert into history values (new.id, format('the execution went back: next %s, then %s; succeeded %s, then %s',
            old.next_ordinal, new.next_ordinal, old.counts ->> 'succeeded', new.counts ->> 'succeeded'));
        end if;
        return new;
      end $$`)
    await database.query(
      "create trigger note before update on execution_tasks for each row execute function note_task()",
    )
    await database.query(
      "create trigger note before update on executions for each row execute function note_execution()",
    )
  },
  async read(database: Database, id: string): Promise<string[]> {
    const rows = await database.query<{ fault: string }>("select fault from history where execution_id = $1", [id])
    return rows.map(({ fault }) => fault)
  },
}

/** Every task has ended as its node says, after as many attempts, and the counts are those of the tasks. */
export function findRowFaults(
  { counts }: OutputOf<typeof executionsGet>,
  tasks: OutputOf<typeof tasksList>["items"],
  witness: WitnessExecutor,
): string[] {
  const faults: string[] = []
  for (const { ordinal, state, attempt } of tasks) {
    const { attempts, outcome } = witness.lastOf(ordinal)
    if (!ended.includes(state)) faults.push(`task ${ordinal} has not ended: ${state}`)
    if (attempt !== attempts) faults.push(`task ${ordinal} had ${attempt} attempts, its node says ${attempts}`)
    if (outcome !== undefined && outcome !== state)
      faults.push(`task ${ordinal} is told as ${state}, its node says ${outcome}`)
    if (attempts === 0 && state !== "never-started")
      faults.push(`task ${ordinal} is ${state}, and never came to its node`)
  }
  const tally = (state: string): number => tasks.filter((task) => task.state === state).length
  for (const state of ["succeeded", "failed", "unreachable"] as const)
    if (counts[state] !== tally(state)) faults.push(`${counts[state]} ${state} are told, ${tally(state)} tasks are`)
  if (counts.neverStarted !== tally("never-started")) faults.push("the never-started are not counted")
  return faults
}
