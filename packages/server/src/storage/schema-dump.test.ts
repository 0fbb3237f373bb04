import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, expect, it } from "vitest"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { dumpSchema } from "./schema-dump.ts"

let test: TestDatabase
beforeAll(async () => {
  test = await createTestDatabase()
})
afterAll(() => test.drop())

it("the committed schema.txt is what the migrations make (else: npx vitest run packages/server/src/storage/schema-dump -u)", async () => {
  const path = fileURLToPath(new URL("../../schema.txt", import.meta.url))
  await expect(await dumpSchema(test.database)).toMatchFileSnapshot(path)
})
