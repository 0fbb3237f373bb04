import { defaultTextOf, settingDeclarations, type SettingName, variableOf } from "@signalbox/contracts/server-settings"
import type { Settings } from "@signalbox/server/settings"
import type { Command } from "commander"
import { addCommand, type CommandContext, type CommandFrame, onRun } from "../command.ts"
import { exitCodes } from "../exit-codes.ts"
import { type Io, printLine } from "../io.ts"

export function addServe(program: Command, frame: CommandFrame): void {
  const command = addCommand(program, "serve", "Run a server until it is told to stop")
  addSettingOptions(command)
  onRun(command, frame, { connects: false, run: serve })
}

const flags = new Set<SettingName>(["insecure"])

/** One option for each setting of the server, made from its declaration. */
export function addSettingOptions(
  command: Command,
  names: readonly SettingName[] = Object.keys(settingDeclarations) as SettingName[],
): void {
  for (const name of names) {
    const { help } = settingDeclarations[name]
    const standard = defaultTextOf(name)
    const text = help.charAt(0).toLowerCase() + help.slice(1)
    const notes = standard === undefined || flags.has(name) ? "" : ` (default: ${standard})`
    command.option(flags.has(name) ? `--${name}` : `--${name} <value>`, `${text}${notes} [${variableOf(name)}]`)
  }
  command.option("--config <file>", "YAML file with these settings by name; options and variables win over it")
}

/** The settings out of options, variables and the file. @throws settings.invalid */
export async function settingsOf(context: CommandContext): Promise<Settings> {
  const { readSettings } = await import("@signalbox/server/settings")
  const given = Object.keys(settingDeclarations).map((name) => [name, context.options[attributeOf(name)]] as const)
  const file = context.options["config"]
  return readSettings({
    flags: Object.fromEntries(given.filter(([, value]) => value !== undefined)),
    variables: context.io.environment,
    ...(typeof file === "string" ? { file } : {}),
  })
}

function attributeOf(name: string): string {
  return name.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

async function serve(context: CommandContext): Promise<number> {
  const settings = await settingsOf(context)
  const stopping = stopSignal(context.io)
  try {
    const { startServer } = await import("@signalbox/server/serve")
    const server = await startServer(settings)
    try {
      const { url, caFingerprint } = server
      const shown = { url, data: settings.data, ...(caFingerprint ? { caFingerprint } : {}) }
      await context.show(shown, () => startedText(shown))
      await stopping.asked
    } finally {
      await server.stop()
    }
    return exitCodes.ok
  } finally {
    stopping.release()
  }
}

function startedText({ url, data, caFingerprint }: { url: string; data: string; caFingerprint?: string }): string {
  return [
    `Signalbox answers at ${url} (data in ${data})`,
    ...(caFingerprint ? [`CA fingerprint: sha256:${caFingerprint}`] : []),
    "To use it from here: signalbox login --local",
    "To stop it: Ctrl-C",
    "",
  ].join("\n")
}

/** Resolves at the first request to stop; at the second one the process ends as it is. */
export function stopSignal(io: Io): { readonly asked: Promise<void>; release(): void } {
  let release = (): void => undefined
  const asked = new Promise<void>((resolve) => {
    let times = 0
    release = io.onStop(() => {
      times += 1
      if (times > 1) {
        release()
        void printLine(io.stderr, "stopped before everything was put in order").finally(() =>
          process.exit(exitCodes.interrupted),
        )
      }
      resolve()
    })
  })
  return { asked, release: () => release() }
}
