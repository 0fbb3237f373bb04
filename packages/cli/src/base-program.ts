import { Command } from "commander"
import { type CommandFrame, UsageError } from "./command.ts"
import { hasColour } from "./io.ts"

const examples = `
Examples:
  signalbox serve                                  start a server with its own database
  signalbox login --local                          use the server of this machine
  signalbox apply -f web.yaml                      store a workflow
  signalbox run deploy -t role=web -p version=2 --watch
  signalbox exec --all -- uptime                   run one command everywhere
  signalbox why exe_01j...                         who asked for it, and what followed
  signalbox why node web-3 package openssl         which run changed it, or that none did

Every command takes --json. Exit codes: signalbox help exit-codes.
`

/** `signalbox` itself, without commands. */
export function createBaseProgram(frame: CommandFrame, version: string): Command {
  const { io } = frame
  const program = new Command("signalbox")
  program
    .description("Runs changes over machines: one door, a safe rate, and a record of who did what")
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "show help")
    .helpCommand("help [command]", "show help for a command")
    // Else the program would take `--version` of `workflows get NAME --version 3`.
    .enablePositionalOptions()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
      outputError: () => undefined,
      getOutHelpWidth: () => io.stdout.columns ?? 100,
      getErrHelpWidth: () => io.stderr.columns ?? 100,
      getOutHasColors: () => hasColour(io.stdout, io.environment),
      getErrHasColors: () => hasColour(io.stderr, io.environment),
    })
    .exitOverride((error) => {
      throw new UsageError(error, "signalbox")
    })
    .addHelpText("after", examples)
  return program
}
