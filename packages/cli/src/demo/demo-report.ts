import type { Claim, RunFigures } from "./claims.ts"
import type { DemoScreen } from "./demo-screen.ts"
import { quoteShell } from "./service-files.ts"

/** The last line of --json. Figures of the nodes, never of the server; megabytes are null where nothing tells them. */
export interface DemoReport {
  readonly ok: boolean
  readonly nodes: number
  /** Of both runs. */
  readonly maxInFlight: number
  readonly maxUnavailable: number
  /** Of the first run. */
  readonly succeeded: number
  readonly failed: number
  readonly rolledBack: number
  /** Of both runs: nodes that the second one left untouched. */
  readonly neverStarted: number
  readonly filesRestoredExactly: boolean
  readonly firstRun: RunFigures
  readonly secondRun: RunFigures & { readonly errorLimit: number }
  readonly secondsToFirstSucceededNode: number
  readonly secondsTotal: number
  readonly serverMegabytes: number | null
  readonly databaseMegabytes: number | null
  readonly agentMegabytes: number | null
  readonly installedMegabytes: number | null
  readonly claims: readonly Claim[]
  readonly kept?: KeptDemo
}

export type Footprint = Pick<
  DemoReport,
  "serverMegabytes" | "databaseMegabytes" | "agentMegabytes" | "installedMegabytes"
>

/** What the last line of --json says of any story. */
export interface StoryReport extends Footprint, Pick<DemoReport, "secondsToFirstSucceededNode" | "secondsTotal"> {
  readonly ok: boolean
  readonly nodes: number
  readonly claims: readonly Claim[]
  readonly kept?: KeptDemo
}

export interface KeptDemo {
  readonly url: string
  readonly key: string
  readonly caFile: string
  /** The command that stops everything and removes the folder. */
  readonly stop: string
}

const claimWidth = 46

export function showClaims(screen: DemoScreen, title: string | undefined, claims: readonly Claim[]): void {
  if (title !== undefined) screen.title(title)
  for (const { name, ok, measured } of claims) {
    const mark = ok ? screen.paint("green", "✓") : screen.paint("red", "✗")
    screen.line(`  ${mark} ${name.padEnd(claimWidth)}  ${screen.paint("gray", measured)}`)
  }
}

export function showFigures(screen: DemoScreen, report: StoryReport): void {
  const size = (megabytes: number | null) => (megabytes === null ? "?" : `${megabytes}`)
  screen.title("What it took")
  screen.line(
    `  ${report.secondsToFirstSucceededNode} s to the first changed node, ${report.secondsTotal} s in all; ` +
      `installed ${size(report.installedMegabytes)} MB`,
  )
  screen.line(
    `  memory: server ${size(report.serverMegabytes)} MB, its database ${size(report.databaseMegabytes)} MB, ` +
      `an agent ${size(report.agentMegabytes)} MB`,
  )
}

export function showNext(screen: DemoScreen, kept: KeptDemo | undefined): void {
  screen.title("Next")
  if (kept) {
    for (const line of keptLines(kept)) screen.line(`  ${line}`)
    return
  }
  screen.line("  npx signalbox demo --keep       the same, left running for you to look around")
  screen.line("  npx signalbox demo --story NAME another story: rollout, night, rules")
  screen.line("  npx signalbox serve             a server of your own, with its database")
  screen.line("  npx signalbox agent --help      make this machine a node")
}

function keptLines(kept: KeptDemo): string[] {
  return [
    `It runs on at ${kept.url}. In a shell:`,
    "",
    `export SIGNALBOX_SERVER=${quoteShell(kept.url)}`,
    `export SIGNALBOX_KEY=${quoteShell(kept.key)}`,
    `export SIGNALBOX_CA_FILE=${quoteShell(kept.caFile)}`,
    "npx signalbox nodes list",
    "npx signalbox executions list",
    "npx signalbox run web-config -t role=web -p version=v4 --watch",
    "",
    `Stop it and remove its files:  ${kept.stop}`,
  ]
}
