import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { findAggregateViolations } from "./aggregate-rule.ts"

const rollback = new Error("roll back")

describe("the rule of aggregates", () => {
  let test: TestDatabase
  beforeAll(async () => {
    test = await createTestDatabase()
  })
  afterAll(() => test.drop())

  /** The violations in a schema that holds only what `text` makes. */
  async function violationsOf(text: string): Promise<string[]> {
    let found: string[] = []
    const planted = test.database.transaction(async (tx) => {
      await tx.query("create schema planted")
      await tx.query("set local search_path = planted")
      await tx.query(text)
      found = await findAggregateViolations(tx, "planted")
      throw rollback
    })
    await expect(planted).rejects.toBe(rollback)
    return found
  }

  const good = `
    create table run (id text primary key, account text not null, name text not null);
    comment on table run is 'aggregate: id';
    create table part (run text not null references run, n int, account text not null, primary key (run, n));
    comment on table part is 'aggregate: run';`

  it("holds for the server's own schema", async () => {
    expect(await findAggregateViolations(test.database)).toEqual([])
  })

  it("lets a good schema pass", async () => {
    expect(await violationsOf(good)).toEqual([])
  })

  it.each([
    ["an unclassified table", "create table t (id text primary key);", "table t does not say its class"],
    [
      "an unknown class",
      "create table t (id text primary key); comment on table t is 'big';",
      "table t does not say its class",
    ],
    [
      "no primary key",
      "create table t (id text); comment on table t is 'stand-alone: x';",
      "table t has no primary key",
    ],
    [
      "a primary key led by something else",
      "create table t (run text, n int, account text not null, primary key (n, run)); comment on table t is 'aggregate: run';",
      "primary key t_pkey does not begin with run",
    ],
    [
      "a unique index across aggregates",
      `${good} create unique index by_name on run (account, name);`,
      "unique index by_name does not begin with id",
    ],
    [
      "a unique index on an expression",
      `${good} create unique index odd on run (lower(id));`,
      "unique index odd does not begin with id",
    ],
    [
      "a foreign key across aggregates",
      `${good} alter table part add other text references run;`,
      "foreign key part_other_fkey of part leaves its aggregate",
    ],
    [
      "a foreign key into configuration",
      `${good} create table c (id text primary key, account text not null); comment on table c is 'configuration'; alter table part add c text references c;`,
      "foreign key part_c_fkey of part leaves its aggregate",
    ],
    [
      "a foreign key from outside",
      `${good} create table c (id text primary key, account text not null, run text references run); comment on table c is 'configuration';`,
      "foreign key c_run_fkey of c points from outside into an aggregate",
    ],
    [
      "an aggregate without account",
      "create table t (run text primary key); comment on table t is 'aggregate: run';",
      "table t has no column account that is not null",
    ],
    [
      "an account that may be null",
      "create table t (id text primary key, account text); comment on table t is 'configuration';",
      "table t has no column account that is not null",
    ],
    [
      "an aggregate's id that is no text",
      "create table t (run int primary key, account text not null); comment on table t is 'aggregate: run';",
      "table t has no column run of type text",
    ],
    ["a sequence", "create sequence s;", "the sequence s is global"],
    [
      "a serial key",
      "create table t (id serial primary key); comment on table t is 'stand-alone: x';",
      "the sequence t_id_seq is global",
    ],
    [
      "an identity column",
      "create table t (id int generated always as identity primary key); comment on table t is 'stand-alone: x';",
      "column t.id is an identity column",
    ],
    [
      "a trigger",
      `${good} create function f() returns trigger language plpgsql as 'begin return new; end';
       create trigger tr before insert on run for each row execute function f();`,
      "table run has the trigger tr",
    ],
  ])("finds %s", async (_name, text, expected) => {
    expect((await violationsOf(text)).join("\n")).toContain(expected)
  })
})
