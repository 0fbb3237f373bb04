import { cruise, type ICruiseResult } from "dependency-cruiser"
import type { Repository } from "../repository.ts"
import type { Gate } from "./gate.ts"
import { layerRules } from "./layer-rules.ts"

export interface LayerViolation {
  readonly rule: string
  readonly from: string
  readonly to: string
}

export interface LayerReport {
  readonly violations: readonly LayerViolation[]
  /** Modules of ours that were read. */
  readonly modulesCount: number
}

/** Reads the imports of `packages/` under a root and holds them against the layer rules. */
export async function cruiseLayers(root: string): Promise<LayerReport> {
  const { output } = await cruise(
    ["packages"],
    {
      baseDir: root,
      ruleSet: layerRules,
      validate: true,
      tsPreCompilationDeps: true,
      doNotFollow: { path: "(?:^|/)node_modules/" },
      exclude: { path: "(?:^|/)dist/" },
    },
    {
      exportsFields: ["exports"],
      conditionNames: ["source", "import", "node", "default"],
      extensions: [".ts", ".js", ".json"],
    },
    { tsConfig: { options: { module: "nodenext", moduleResolution: "nodenext" } } },
  )
  const { summary, modules } = output as ICruiseResult
  const violations = summary.violations
    .map(({ rule, from, to }) => ({ rule: rule.name, from, to }))
    .toSorted((a, b) => (`${a.rule} ${a.from}` < `${b.rule} ${b.from}` ? -1 : 1))
  const ours = modules.filter((module) => module.source.startsWith("packages/") && module.source.endsWith(".ts"))
  return { violations, modulesCount: ours.length }
}

export const layersGate: Gate = {
  name: "layers",
  async run(repository: Repository) {
    const sources = repository.files.filter((path) => /^packages\/[^/]+\/src\/.*\.ts$/.test(path))
    const { violations, modulesCount } = await cruiseLayers(repository.root)
    const problems = violations.map(({ rule, from, to }) => `${from}: ${rule}: imports ${to}`)
    if (modulesCount < sources.length) {
      problems.push(`only ${modulesCount} of ${sources.length} modules were read: does TypeScript 6 resolve?`)
    }
    return { problems, note: `${modulesCount} modules, ${layerRules.forbidden?.length ?? 0} rules` }
  },
}
