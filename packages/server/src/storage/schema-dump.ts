import { schemaName, type Sql } from "./database.ts"

/**
 * The schema as text, from the catalog, in an order that does not depend on how it came about. Committed as
 * `packages/server/schema.txt`, so that a review sees what a migration really changes.
 */
export async function dumpSchema(sql: Sql): Promise<string> {
  const tables = await sql.query<{ id: number; name: string; comment: string | null; options: string | null }>(
    `select oid::int as id, relname as name, obj_description(oid, 'pg_class') as comment, array_to_string(reloptions, ', ') as options
     from pg_class where relkind in ('r', 'p') and relnamespace = to_regnamespace($1) order by relname collate "C"`,
    [schemaName],
  )
  const sections: string[] = []
  for (const { id, name, comment, options } of tables) {
    const lines = [
      ...(await listColumns(sql, id)),
      ...(await listConstraints(sql, id)),
      ...(await listIndexes(sql, id)),
    ]
    sections.push(
      [
        `table ${name} -- ${comment ?? "no class"}${options ? ` (${options})` : ""}`,
        ...lines.map((line) => `  ${line}`),
      ].join("\n"),
    )
  }
  for (const { text } of await listFunctions(sql)) sections.push(text.trim())
  return `${sections.join("\n\n")}\n`
}

async function listColumns(sql: Sql, table: number): Promise<string[]> {
  const rows = await sql.query<{ line: string }>(
    `select attname || ' ' || format_type(atttypid, atttypmod) || case when attnotnull then ' not null' else '' end ||
       coalesce(case when attgenerated <> '' then ' generated ' else ' default ' end || pg_get_expr(adbin, adrelid), '') as line
     from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
     where attrelid = $1 and attnum > 0 and not attisdropped order by attnum`,
    [table],
  )
  return rows.map(({ line }) => line)
}

async function listConstraints(sql: Sql, table: number): Promise<string[]> {
  const rows = await sql.query<{ line: string }>(
    `select conname || ' ' || pg_get_constraintdef(oid) as line from pg_constraint
     where conrelid = $1 and contype <> 'n' order by contype, conname collate "C"`,
    [table],
  )
  return rows.map(({ line }) => line)
}

async function listIndexes(sql: Sql, table: number): Promise<string[]> {
  const rows = await sql.query<{ line: string }>(
    `select pg_get_indexdef(indexrelid) as line from pg_index
     where indrelid = $1 and not exists (select 1 from pg_constraint where conindid = indexrelid and conrelid = $1)
     order by pg_get_indexdef(indexrelid) collate "C"`,
    [table],
  )
  return rows.map(({ line }) => line.replaceAll(`${schemaName}.`, ""))
}

function listFunctions(sql: Sql): Promise<Array<{ text: string }>> {
  return sql.query<{ text: string }>(
    `select pg_get_functiondef(oid) as text from pg_proc where pronamespace = to_regnamespace($1) order by oid::regprocedure::text collate "C"`,
    [schemaName],
  )
}
