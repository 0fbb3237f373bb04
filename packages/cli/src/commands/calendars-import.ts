import { basename } from "node:path"
import { calendarsApply, calendarsGet } from "@signalbox/contracts/calendars/change-calendars"
import type { CallInputOf } from "@signalbox/contracts/operation"
import type { Command } from "commander"
import { addCommand, type CommandContext, type CommandFrame, onRun, textOption } from "../command.ts"
import { findUnless } from "../documents/declared-kind.ts"
import { showHeld } from "../output/show-held.ts"
import { readInputFile } from "../input-file.ts"

type Settings = Omit<CallInputOf<typeof calendarsApply>, "name" | "document">

/** `calendars import`: an exported iCalendar file becomes a calendar, or takes the place of what one said. */
export function addCalendarsImport(calendars: Command, frame: CommandFrame): void {
  const command = addCommand(calendars, "import <file>", "Make a change calendar of an exported iCalendar file")
    .description(
      "Make a change calendar of an exported iCalendar file.\n\nOf a calendar that is there, the settings stay as they are, save those that are given.",
    )
    .option("--name <name>", "the calendar's name (default: the file's, without .ics)")
    .option("--default <state>", "while no event takes place: open or closed")
    .option("--zone <zone>", "for whole days and times without a zone, such as Europe/Berlin")
    .option("--count-transparent", "count events that say they take up no time")
    .option(
      "--freeze-template <name>",
      "the approval template that is needed beside the regular ones while it is closed",
    )
  onRun(command, frame, { run: importCalendar })
}

async function importCalendar(context: CommandContext): Promise<number | void> {
  const file = context.words[0] as string
  const document = await readInputFile(file, context.io)
  const name =
    textOption(context, "name") ??
    basename(file)
      .replace(/\.(?:ics|ical|icalendar)$/i, "")
      .toLowerCase()
  const client = await context.client()
  const stored = await findUnless(client.call(calendarsGet, { name }), "calendars.calendar-not-found")
  const kept: Settings = stored
    ? {
        description: stored.description,
        default: stored.default,
        zone: stored.zone,
        countTransparent: stored.countTransparent,
        holds: stored.holds,
        freezeTemplate: stored.freezeTemplate,
      }
    : {}
  const reply = await client.call(calendarsApply, { ...kept, ...givenSettings(context), name, document })
  if (reply.status === "held") return await showHeld(context, reply.requestUrl)
  const { changed, eventsCount, ignoredCount, version } = reply.value
  const what = changed ? (version === 1 ? "created" : "changed") : "unchanged"
  await context.show(
    reply.value,
    () => `calendar ${name} ${what} (version ${version}): ${eventsCount} events count, ${ignoredCount} don't\n`,
  )
}

function givenSettings(context: CommandContext): Settings {
  const state = textOption(context, "default")
  const zone = textOption(context, "zone")
  const freezeTemplate = textOption(context, "freezeTemplate")
  return {
    ...(state === undefined ? {} : { default: state as "open" | "closed" }),
    ...(zone === undefined ? {} : { zone }),
    ...(context.options["countTransparent"] === true ? { countTransparent: true } : {}),
    ...(freezeTemplate === undefined ? {} : { freezeTemplate }),
  }
}
