import type { WindowsAnswer, WindowState } from "../../router/ports.ts"
import type { ConfigurationListener } from "../../storage/configuration-versions.ts"
import type { Sql } from "../../storage/database.ts"
import { segmentAt, type WindowSegment, type WindowSpec } from "./window-model.ts"
import { specOf } from "./window-wire.ts"
import { readWindows } from "./window-store.ts"

/**
 * Every window of the installation in memory, with the stretch of time that each is in: executions ask every second. An
 * account's windows are replaced whole when their version grows. A window that is not here is closed.
 */
interface KnownWindow {
  readonly spec: WindowSpec
  segment: WindowSegment | undefined
}

export const windowsComponent = "calendars.windows"

export interface WindowDirectory extends WindowState, ConfigurationListener {}

export function createWindowDirectory(sql: Sql): WindowDirectory {
  const accounts = new Map<string, ReadonlyMap<string, KnownWindow>>()
  return {
    component: windowsComponent,
    async load(account) {
      const rows = await readWindows(sql, account)
      accounts.set(account, new Map(rows.map((row) => [row.name, { spec: specOf(row), segment: undefined }])))
    },
    stateOf(account, names, now) {
      if (names.length === 0) return { open: true, changesAt: null, name: null }
      const known = accounts.get(account)
      return answerOf(
        names.flatMap((name) => {
          const window = known?.get(name)
          return window ? [{ name, segment: currentSegment(window, now) }] : []
        }),
      )
    },
  }
}

function currentSegment(window: KnownWindow, now: number): WindowSegment {
  const { segment } = window
  if (segment && segment.from <= now && (segment.until === null || now < segment.until)) return segment
  window.segment = segmentAt(window.spec, now)
  return window.segment
}

interface NamedSegment {
  readonly name: string
  readonly segment: WindowSegment
}

/** Where one is open, the one that takes new work longest; else the one that opens first. */
function answerOf(windows: readonly NamedSegment[]): WindowsAnswer {
  const open = windows
    .filter(({ segment }) => segment.state === "open")
    .toSorted((a, b) => (b.segment.startsUntil ?? 0) - (a.segment.startsUntil ?? 0))[0]
  if (open) return { open: true, changesAt: open.segment.startsUntil ?? null, name: open.name }
  const next = windows
    .filter(({ segment }) => segment.opensAt !== null)
    .toSorted((a, b) => (a.segment.opensAt ?? 0) - (b.segment.opensAt ?? 0))[0]
  return { open: false, changesAt: next?.segment.opensAt ?? null, name: next?.name ?? null }
}
