import { type RunningServer, startServer } from "@signalbox/server/serve"
import { readSettings } from "@signalbox/server/settings"
import { createEmptyDatabase } from "@signalbox/testkit/test-database"
import type { Connection } from "@signalbox/server/storage/database"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { cli as runCommand, type TestIoOptions } from "./test-io.fixture.ts"

/** Change calendars at the command line, with a real server. */
let directory: string
let server: RunningServer
let drop: () => Promise<void>
let environment: Record<string, string>

const cli = (words: readonly string[], options: TestIoOptions = {}) => runCommand(words, { ...options, environment })

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox calendars "))
  const database = await createEmptyDatabase()
  drop = () => database.drop()
  const flags = { data: directory, port: 0, "log-level": "silent", "database-url": urlOf(database.connection) }
  server = await startServer(readSettings({ flags, variables: {} }))
  environment = { XDG_CONFIG_HOME: join(directory, "config"), SIGNALBOX_DATA: directory }
  expect(await cli(["login", "--local"])).toMatchObject({ code: 0, stderr: "" })
})

afterAll(async () => {
  await server.stop()
  await drop()
  await rm(directory, { recursive: true, force: true })
})

function urlOf(connection: Connection): string {
  if (typeof connection === "string") return connection
  const { host, port, user, password, database } = connection
  const query = new URLSearchParams({ host: host ?? "", port: String(port ?? 5432) }).toString()
  return `postgres://${user}${password ? `:${String(password)}` : ""}@/${database}?${query}`
}

const freeze = `BEGIN:VCALENDAR
VERSION:2.0
BEGIN:VEVENT
UID:1@example
DTSTART;VALUE=DATE:20301220
DTEND;VALUE=DATE:20310102
SUMMARY:Year's end
END:VEVENT
END:VCALENDAR
`

test("A15: a file becomes a calendar, says its state, and is shared by a feed", async () => {
  const file = join(directory, "Year-End.ics")
  await writeFile(file, freeze.replaceAll("\n", "\r\n"))
  expect(await cli(["calendars", "import", file])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("line 5 of the calendar: DTSTART is a whole day"),
  })
  const settings = ["--zone", "Europe/Berlin", "--freeze-template", "board"]
  const imported = await cli(["calendars", "import", file, ...settings])
  expect(imported).toMatchObject({ code: 0, stderr: "" })
  expect(imported.stdout).toBe("calendar year-end created (version 1): 1 events count, 0 don't\n")
  // What was set stays; the same file changes nothing.
  expect((await cli(["calendars", "import", file])).stdout).toContain("calendar year-end unchanged")
  expect((await cli(["calendars", "show", "year-end"])).stdout).toMatch(/^freeze.?template:?\s+board$/im)
  const state = await cli(["calendars", "state", "--at", "2030-12-24T12:00:00Z", "--json"])
  expect(JSON.parse(state.stdout)).toMatchObject({
    state: "closed",
    changesAt: "2031-01-01T23:00:00.000Z",
    items: [{ name: "year-end", event: "Year's end" }],
  })
  const freezes = await cli(["calendars", "freezes", "executions.create", "--at", "2030-12-24T12:00:00Z", "--json"])
  expect(JSON.parse(freezes.stdout)).toMatchObject({ items: [{ name: "year-end", freezeTemplate: "board" }] })
  const document = await cli(["calendars", "document", "year-end"])
  expect(document.stdout).toContain("SUMMARY:Year's end")
  const feed = await cli(["calendars", "feed", "year-end", "--note", "wall", "--json"])
  expect(JSON.parse(feed.stdout)).toMatchObject({ calendar: "year-end", url: expect.stringContaining("/sbx_") })
  const reviews = await cli(["break-glass-reviews", "list", "--json"])
  expect(JSON.parse(reviews.stdout)).toEqual({ items: [] })
}, 60_000)

test("A15: a document declares a calendar, and diff tells what applying it would change", async () => {
  const file = join(directory, "calendars.yaml")
  const indented = freeze.replaceAll(/^(?=.)/gm, "  ")
  const text = (more: string) => `kind: ChangeCalendar\nname: declared\nzone: UTC\n${more}document: |\n${indented}`
  await writeFile(file, text(""))
  expect((await cli(["apply", "-f", file])).stdout).toBe("calendar declared created (version 1)\n")
  expect((await cli(["apply", "-f", file])).stdout).toBe("calendar declared unchanged (version 1)\n")
  expect(await cli(["diff", "-f", file])).toMatchObject({ code: 0, stdout: "" })
  await writeFile(
    file,
    text("freezeTemplate: board\nholds:\n  - operations: ['executions.*']\n    workflows: [web-*]\n"),
  )
  const diff = await cli(["diff", "-f", file])
  expect(diff.code).toBe(1)
  expect(diff.stdout).toContain("+freezeTemplate: board")
  expect((await cli(["apply", "-f", file])).stdout).toBe("calendar declared changed (version 2)\n")
  expect(await cli(["diff", "-f", file])).toMatchObject({ code: 0, stdout: "" })
  await writeFile(file, "kind: ChangeCalendar\nname: fetched\nurl: https://calendar.example/freeze.ics\n")
  expect((await cli(["apply", "-f", file])).stdout).toContain("calendar fetched created")
  expect(await cli(["diff", "-f", file])).toMatchObject({ code: 0, stdout: "" })
  await writeFile(file, "kind: ChangeCalendar\nname: fetched\nurl: http://calendar.example/freeze.ics\nhold: []\n")
  const wrong = await cli(["apply", "-f", file])
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringMatching(/3:\d+.*https: URL/) })
}, 60_000)
