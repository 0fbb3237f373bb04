import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { layerRules, packageDependencies } from "./layer-rules.ts"
import { cruiseLayers } from "./layers.ts"

type Tree = Readonly<Record<string, string>>

const services = "packages/server/src/services"

/** What every tree begins with: each package imports all that it may. Nothing here breaks a rule. */
const cleanTree: Tree = {
  "packages/kernel/src/base.ts": "export const base = 1",
  "packages/contracts/src/base.ts":
    'import { z } from "zod"\nexport { base } from "@signalbox/kernel/base"\nexport const schema = z',
  "packages/attestation/src/base.ts": 'import "node:crypto"\nexport { base } from "@signalbox/contracts/base"',
  "packages/masking/src/base.ts": 'export { base } from "@signalbox/contracts/base"',
  "packages/expressions/src/base.ts": 'export { base } from "@signalbox/kernel/base"',
  "packages/engine/src/base.ts": 'export { base } from "@signalbox/kernel/base"',
  "packages/approvals/src/base.ts": 'export { base } from "@signalbox/expressions/base"',
  "packages/rules/src/base.ts": 'export { base } from "@signalbox/expressions/base"',
  "packages/engine/src/base.test.ts": 'import "node:fs"\nimport "@signalbox/testkit/base"\nimport "./base.ts"',
  "packages/sdk/src/base.ts": 'import "node:fs"\nexport { base } from "@signalbox/contracts/base"',
  "packages/agent/src/base.ts": 'import "node:fs"\nexport { base } from "@signalbox/contracts/base"',
  "packages/cli/src/base.ts":
    'import type { base } from "@signalbox/agent/base"\nexport const load = (): Promise<{ base: typeof base }> => import("@signalbox/agent/base")',
  "packages/testkit/src/base.ts": 'import "pg"\nexport { base } from "@signalbox/engine/base"',
  "packages/server/src/storage/database.ts": 'import "pg"\nexport { base } from "@signalbox/kernel/base"',
  "packages/server/src/router/ports.ts": 'export { base } from "../storage/database.ts"',
  [`${services}/one/model.ts`]: 'export { base } from "@signalbox/engine/base"',
  [`${services}/one/store.ts`]: 'export { base } from "../../storage/database.ts"',
  [`${services}/one/service.ts`]:
    'import "./model.ts"\nimport "./store.ts"\nexport { base } from "../../router/ports.ts"',
  [`${services}/two/service.ts`]: 'export { base } from "../../router/ports.ts"',
  "packages/server/src/compose.ts": 'import "./services/one/service.ts"\nimport "./services/two/service.ts"',
}

/** One file for each rule that breaks that rule and no other. */
const planted: Readonly<Record<string, Tree>> = {
  "layer-kernel": { "packages/kernel/src/bad.ts": 'import "@signalbox/contracts/base"' },
  "layer-contracts": { "packages/contracts/src/bad.ts": 'import "@signalbox/engine/base"' },
  "layer-masking": { "packages/masking/src/bad.ts": 'import "@signalbox/expressions/base"' },
  "layer-attestation": { "packages/attestation/src/bad.ts": 'import "@signalbox/expressions/base"' },
  "layer-expressions": { "packages/expressions/src/bad.ts": 'import "@signalbox/contracts/base"' },
  "layer-engine": { "packages/engine/src/bad.ts": 'import type {} from "@signalbox/contracts/base"' },
  "layer-approvals": { "packages/approvals/src/bad.ts": 'import "@signalbox/engine/base"' },
  "layer-rules": { "packages/rules/src/bad.ts": 'import "@signalbox/engine/base"' },
  "layer-sdk": { "packages/sdk/src/bad.ts": 'import "@signalbox/engine/base"' },
  "layer-agent": { "packages/agent/src/bad.ts": 'export const late = () => import("@signalbox/sdk/base")' },
  "layer-server": { "packages/server/src/bad.ts": 'import "@signalbox/agent/base"' },
  "layer-cli": { "packages/cli/src/bad.ts": 'import "@signalbox/engine/base"' },
  "layer-testkit": { "packages/testkit/src/bad.ts": 'import "@signalbox/sdk/base"' },
  "known-package": { "packages/console/src/bad.ts": 'import "@signalbox/kernel/base"' },
  "cli-lazy": { "packages/cli/src/bad.ts": 'import "@signalbox/agent/base"' },
  "pure-no-builtin": { [`${services}/one/model.ts`]: 'import "node:crypto"' },
  "pure-no-library": { "packages/engine/src/bad.ts": 'import "undici"' },
  "model-no-shell": { [`${services}/one/model.ts`]: 'import "./store.ts"' },
  "services-apart": { [`${services}/two/bad.ts`]: 'import "../one/store.ts"' },
  "compose-constructs": { "packages/server/src/bad.ts": 'import "./services/one/service.ts"' },
  "service-door": { "packages/server/src/compose.ts": 'import "./services/one/store.ts"' },
  "router-below-services": { "packages/server/src/router/bad.ts": 'import "../compose.ts"' },
  "storage-lowest": { "packages/server/src/storage/bad.ts": 'import "../router/ports.ts"' },
  "driver-in-storage": { [`${services}/one/store.ts`]: 'import "pg"' },
  "egress-only": { [`${services}/one/store.ts`]: 'import "undici"' },
  "no-tests-in-production": {
    "packages/kernel/src/bad.ts": 'import "./bad.fixture.ts"',
    "packages/kernel/src/bad.fixture.ts": "",
  },
  "packages-stand-alone": { "packages/kernel/src/bad.ts": 'import "../../../tools/tool.ts"', "tools/tool.ts": "" },
  "no-circular": {
    "packages/kernel/src/a.ts": 'import "./b.ts"',
    "packages/kernel/src/b.ts": 'import type {} from "./a.ts"',
  },
  resolvable: { "packages/sdk/src/bad.ts": 'import "./nowhere.ts"' },
}

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "signalbox layers "))
})
afterAll(() => rm(root, { recursive: true, force: true }))

async function plantTree(name: string, tree: Tree): Promise<string> {
  const folder = join(root, name)
  const libraries = Object.fromEntries(
    ["zod", "pg", "undici"].flatMap((library) => [
      [`node_modules/${library}/package.json`, JSON.stringify({ name: library, main: "index.js" })],
      [`node_modules/${library}/index.js`, ""],
    ]),
  )
  for (const [path, text] of Object.entries({ ...cleanTree, ...libraries, ...tree })) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  await mkdir(join(folder, "node_modules/@signalbox"))
  for (const name of Object.keys(packageDependencies)) {
    const manifest = { name: `@signalbox/${name}`, exports: { "./*": { source: "./src/*.ts" } } }
    await writeFile(join(folder, "packages", name, "package.json"), JSON.stringify(manifest))
    await symlink(`../../packages/${name}`, join(folder, "node_modules/@signalbox", name))
  }
  return folder
}

describe("layer rules", () => {
  test("let a tree pass in which each package imports all that it may", async () => {
    const report = await cruiseLayers(await plantTree("clean", cleanTree))
    expect(report.violations).toEqual([])
    expect(report.modulesCount).toBe(Object.keys(cleanTree).length)
  })

  test("have a planted violation each", () => {
    expect(Object.keys(planted).toSorted()).toEqual(layerRules.forbidden?.map((rule) => rule.name).toSorted())
  })

  test.each(Object.entries(planted))("%s is broken by its planted violation, and by it alone", async (rule, tree) => {
    const report = await cruiseLayers(await plantTree(rule, tree))
    expect([...new Set(report.violations.map((violation) => violation.rule))]).toEqual([rule])
  })
})
