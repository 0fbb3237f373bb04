import { existsSync, readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { expect, it } from "vitest"
import { parseWorkflow } from "./workflow-text.ts"

const directory = fileURLToPath(new URL("../../../../../examples/", import.meta.url))
const documents = readdirSync(directory).filter((name) => name.endsWith(".yaml"))
// Others are recipes without a workflow.
const cookbook = readdirSync(`${directory}cookbook`).filter((name) =>
  existsSync(`${directory}cookbook/${name}/workflow.yaml`),
)

it.each(documents)("the example %s is a valid workflow", (name) => {
  const text = readFileSync(`${directory}${name}`, "utf8")
  if (!/^kind: Workflow$/m.test(text)) return
  expect(parseWorkflow(text)).toMatchObject({ ok: true, workflow: { document: { name: name.replace(".yaml", "") } } })
})

it.each(cookbook)("the cookbook's %s is a valid workflow of that name", (name) => {
  const text = readFileSync(`${directory}cookbook/${name}/workflow.yaml`, "utf8")
  expect(parseWorkflow(text)).toMatchObject({ ok: true, workflow: { document: { name } } })
})
