/**
 * A server process for the take-over test: `node background-queue.fixture.ts CONNECTION-JSON SERVER-ID MODE`. In mode
 * "hold" its handler never ends; in mode "work" it records each event in the table `handled`.
 */
import { openDatabase, type Connection } from "./database.ts"
import { startBackgroundQueue } from "./background-queue.ts"

const [connectionJson = "", serverId = "", mode] = process.argv.slice(2)
const connection = JSON.parse(connectionJson) as Connection
const database = await openDatabase({ connection, connectionsMax: 4 })
await startBackgroundQueue({
  connection,
  database,
  serverId,
  scanMilliseconds: 50,
  consumers: [
    {
      name: "fixture",
      async handle(event) {
        await database.query("insert into handled (id, server) values ($1, $2)", [event.id, `${serverId}/${mode}`])
        if (mode === "hold") await new Promise(() => {})
      },
    },
  ],
})
process.stdout.write("ready\n")
