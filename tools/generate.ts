import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { makeGeneratedFiles } from "./generate/generated-files.ts"
import { openRepository } from "./repository.ts"

const repository = await openRepository()
for (const [path, text] of await makeGeneratedFiles(repository)) {
  const before = repository.files.includes(path) ? await repository.read(path) : undefined
  if (before !== text) await writeFile(join(repository.root, path), text)
  console.log(`${before === text ? "unchanged" : "written  "} ${path}`)
}
