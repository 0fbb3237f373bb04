import { expect, test } from "vitest"
import { operations } from "../../packages/contracts/src/operations.ts"
import { errorCatalogue } from "../../packages/kernel/src/error-catalogue.ts"
import { findStaleFiles } from "../gates/generated.ts"
import { openRepository } from "../repository.ts"
import { makeErrorPage } from "./error-page.ts"
import { makeGeneratedFiles } from "./generated-files.ts"
import { markdownTable } from "./generated-page.ts"
import { makeRolePage } from "./role-page.ts"

test("the committed OpenAPI document and pages are what the declarations say", async () => {
  const repository = await openRepository()
  expect(await findStaleFiles(repository, await makeGeneratedFiles(repository))).toEqual([])
})

test("every error code has its anchor and its help on the error page", () => {
  const text = makeErrorPage()
  for (const [code, { help }] of Object.entries(errorCatalogue)) {
    expect(text).toContain(`<a id="${code}"></a>`)
    expect(text).toContain(help)
  }
})

test("every operation is a row of the role page", () => {
  const text = makeRolePage(operations)
  for (const { name, permission } of operations) expect(text).toContain(`| \`${name}\` | ${permission} |`)
})

test("a cell can't end its column", () => {
  expect(markdownTable(["a"], [["x | y"]])).toBe("| a |\n| --- |\n| x \\| y |")
})
