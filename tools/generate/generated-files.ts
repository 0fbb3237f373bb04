import { makeOpenApi } from "../../packages/contracts/src/openapi.ts"
import { operations } from "../../packages/contracts/src/operations.ts"
import type { Repository } from "../repository.ts"
import { makeDependencyPage } from "./dependency-page.ts"
import { makeErrorPage } from "./error-page.ts"
import { makeRolePage } from "./role-page.ts"

/** Every committed file that is made from declarations: path -> the text that it must have. */
export async function makeGeneratedFiles(repository: Repository): Promise<ReadonlyMap<string, string>> {
  const { version } = JSON.parse(await repository.read("packages/contracts/package.json")) as { version: string }
  return new Map([
    ["packages/contracts/openapi.json", `${JSON.stringify(makeOpenApi(operations, version), null, 2)}\n`],
    ["docs/dependencies.md", await makeDependencyPage(repository)],
    ["docs/errors.md", makeErrorPage()],
    ["docs/roles.md", makeRolePage(operations)],
  ])
}
