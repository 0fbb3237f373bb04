/** A process that does nothing but seal, without a pause: `node sealer.fixture.ts CONNECTION-JSON`; to be killed. */
import { openDatabase, type Connection } from "../../storage/database.ts"
import { newSigningKey, recordSigningKey } from "../../storage/signing-key.ts"
import { systemClock } from "../../system.ts"
import { Sealer } from "./sealer.ts"

const connection = JSON.parse(process.argv[2] ?? "") as Connection
const sql = await openDatabase({ connection, connectionsMax: 2 })
const logger = { warn: (_: object, message: string) => void process.stderr.write(`${message}\n`) }
const signingKey = newSigningKey()
await recordSigningKey(sql, signingKey)
new Sealer({ sql, clock: systemClock, signingKey, logger, pauseMilliseconds: 1 }).start()
process.stdout.write("ready\n")
