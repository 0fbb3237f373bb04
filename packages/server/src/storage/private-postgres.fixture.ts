/**
 * A server process for the tests of the private database: `node private-postgres.fixture.ts DIRECTORY [ROWS]`. Says
 * "ready PID", then writes rows and says each number once it is committed, for ever. Says "error CODE" where it cannot.
 */
import { isAppError } from "@signalbox/kernel/app-error"
import { connectDirect } from "./database.ts"
import { startPrivatePostgres } from "./private-postgres.ts"

const [dataDirectory = "", mode] = process.argv.slice(2)
const say = (text: string): void => void process.stdout.write(`${text}\n`)
try {
  const postgres = await startPrivatePostgres({ dataDirectory })
  say(`ready ${postgres.processId}`)
  const client = await connectDirect(postgres.connection)
  await client.query("create table if not exists public.rows (n int)")
  for (let n = 0; mode === "rows"; n++) {
    await client.query("insert into public.rows values ($1)", [n])
    say(String(n))
  }
} catch (error) {
  say(`error ${isAppError(error) ? error.code : String(error)}`)
  process.exit(1)
}
