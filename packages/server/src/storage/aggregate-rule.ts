import type { Sql } from "./database.ts"
import { schemaName } from "./database.ts"

interface Table {
  readonly id: number
  readonly name: string
  readonly comment: string | null
  readonly triggers: string[]
  readonly identityColumns: string[]
  /** Of the column `account`: true where it exists and is not null. */
  readonly hasAccount: boolean
  readonly columns: Record<string, string>
}

interface Index {
  readonly table: number
  readonly name: string
  readonly primary: boolean
  readonly columns: Array<string | null>
}

interface ForeignKey {
  readonly table: number
  readonly target: number
  readonly name: string
  readonly columns: string[]
  readonly targetColumns: string[]
}

type TableClass =
  | { readonly kind: "aggregate"; readonly column: string }
  | { readonly kind: "configuration" }
  | { readonly kind: "stand-alone" }

/**
 * The places where the schema breaks the rule of aggregates, each as a sentence; empty where it holds. Every table says
 * what it is in its comment: `aggregate: COLUMN` (grows; keys begin with that column), `configuration` (small; may be
 * copied to every node) or `stand-alone: REASON`.
 */
export async function findAggregateViolations(sql: Sql, schema = schemaName): Promise<string[]> {
  const tables = await readTables(sql, schema)
  const indexes = await readUniqueIndexes(sql, schema)
  const foreignKeys = await readForeignKeys(sql, schema)
  const classes = new Map(tables.map((table) => [table.id, findClass(table.comment)]))
  const byId = new Map(tables.map((table) => [table.id, table]))
  const sequences = await sql.query<{ name: string }>(
    "select relname as name from pg_class where relkind = 'S' and relnamespace = to_regnamespace($1) order by 1",
    [schema],
  )
  return [
    ...sequences.map(({ name }) => `the sequence ${name} is global: make keys outside the database`),
    ...tables.flatMap((table) =>
      checkTable(
        table,
        classes.get(table.id),
        indexes.filter((index) => index.table === table.id),
      ),
    ),
    ...foreignKeys.flatMap((key) => checkForeignKey(key, byId, classes)),
  ]
}

function findClass(comment: string | null): TableClass | undefined {
  if (comment === "configuration") return { kind: "configuration" }
  const [, kind, rest = ""] = /^(aggregate|stand-alone): (.+)$/.exec(comment ?? "") ?? []
  if (kind === "aggregate") return { kind, column: rest }
  return kind === "stand-alone" ? { kind } : undefined
}

function checkTable(table: Table, tableClass: TableClass | undefined, indexes: readonly Index[]): string[] {
  const { name } = table
  const found: string[] = []
  if (!tableClass)
    found.push(
      `table ${name} does not say its class: comment it aggregate: COLUMN, configuration or stand-alone: REASON`,
    )
  for (const trigger of table.triggers) found.push(`table ${name} has the trigger ${trigger}`)
  for (const column of table.identityColumns) found.push(`column ${name}.${column} is an identity column`)
  if (!indexes.some(({ primary }) => primary)) found.push(`table ${name} has no primary key`)
  if (tableClass && tableClass.kind !== "stand-alone" && !table.hasAccount)
    found.push(`table ${name} has no column account that is not null`)
  if (tableClass?.kind !== "aggregate") return found
  const { column } = tableClass
  if (table.columns[column] !== "text")
    found.push(`table ${name} has no column ${column} of type text, its aggregate's id`)
  for (const index of indexes) {
    if (index.columns[0] !== column)
      found.push(`${index.primary ? "primary key" : "unique index"} ${index.name} does not begin with ${column}`)
  }
  return found
}

function checkForeignKey(
  key: ForeignKey,
  tables: ReadonlyMap<number, Table>,
  classes: ReadonlyMap<number, TableClass | undefined>,
): string[] {
  const from = classes.get(key.table)
  const to = classes.get(key.target)
  const names = `${key.name} of ${tables.get(key.table)?.name}`
  if (from?.kind === "aggregate") {
    const inside = to?.kind === "aggregate" && key.columns[0] === from.column && key.targetColumns[0] === to.column
    return inside
      ? []
      : [`foreign key ${names} leaves its aggregate: both sides begin with the aggregate's id, or there is none`]
  }
  return to?.kind === "aggregate" ? [`foreign key ${names} points from outside into an aggregate`] : []
}

function readTables(sql: Sql, schema: string): Promise<Table[]> {
  return sql.query<Table>(
    `select c.oid::int as id, c.relname as name, obj_description(c.oid, 'pg_class') as comment,
       array(select tgname::text from pg_trigger where tgrelid = c.oid and not tgisinternal) as triggers,
       array(select attname::text from pg_attribute where attrelid = c.oid and attidentity <> '') as "identityColumns",
       exists (select 1 from pg_attribute where attrelid = c.oid and attname = 'account' and attnotnull) as "hasAccount",
       coalesce((select jsonb_object_agg(attname, format_type(atttypid, null)) from pg_attribute
         where attrelid = c.oid and attnum > 0 and not attisdropped), '{}') as columns
     from pg_class c where c.relkind in ('r', 'p') and c.relnamespace = to_regnamespace($1) order by c.relname`,
    [schema],
  )
}

function readUniqueIndexes(sql: Sql, schema: string): Promise<Index[]> {
  return sql.query<Index>(
    `select i.indrelid::int as table, c.relname as name, i.indisprimary as primary,
       array(select (select attname::text from pg_attribute where attrelid = i.indrelid and attnum = k.number and k.number > 0)
         from unnest(i.indkey::int2[]) with ordinality as k (number, place) order by place) as columns
     from pg_index i join pg_class c on c.oid = i.indexrelid
     where i.indisunique and c.relnamespace = to_regnamespace($1) order by c.relname`,
    [schema],
  )
}

function readForeignKeys(sql: Sql, schema: string): Promise<ForeignKey[]> {
  const names = (table: string, numbers: string): string =>
    `array(select attname::text from unnest(${numbers}) with ordinality as k (number, place)
       join pg_attribute on attrelid = ${table} and attnum = k.number order by place)`
  return sql.query<ForeignKey>(
    `select conrelid::int as table, confrelid::int as target, conname as name,
       ${names("conrelid", "conkey")} as columns, ${names("confrelid", "confkey")} as "targetColumns"
     from pg_constraint where contype = 'f' and connamespace = to_regnamespace($1) order by conname`,
    [schema],
  )
}
