import type { Command } from "commander"
import type { CommandContext } from "../command.ts"

/** Where people need something better than what the declaration alone gives. */
export interface OperationOverride {
  /** The command's words instead of noun and verb. */
  readonly words?: readonly string[]
  readonly aliases?: readonly string[]
  /** Fields given as positionals, beside those of the path. */
  readonly positionals?: readonly string[]
  /** A field whose text is read from a file given with -f. */
  readonly file?: string
  readonly shorts?: Readonly<Record<string, string>>
  /** Further options. */
  readonly extend?: (command: Command) => void
  readonly render?: (value: never, columns: number | undefined) => string
  /** Other columns than the declaration's, and what they are made of. */
  readonly table?: { readonly columns: readonly string[]; readonly row: (row: never) => object }
  readonly exitCode?: (value: never) => number
  /** Instead of calling and printing. */
  readonly run?: (context: CommandContext, input: never) => Promise<number | void>
}
