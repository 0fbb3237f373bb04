import { expect, test } from "vitest"
import { createProgram } from "../program.ts"
import { TestIo } from "../test-io.fixture.ts"
import { renderCliReference } from "./cli-reference.ts"

test("docs/cli.md is what the program says of itself", async () => {
  const outcome = { exitCode: 0, doing: "", json: false }
  const program = createProgram({ io: new TestIo(), outcome }, "0.0.0")
  await expect(renderCliReference(program)).toMatchFileSnapshot("../../../../docs/cli.md")
})
