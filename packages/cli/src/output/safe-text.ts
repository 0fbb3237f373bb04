import { stripVTControlCharacters } from "node:util"

/** Control characters, except tab and line feed; C1 too, which some terminals obey. */
const controls = /[^\P{Cc}\t\n]/gu

/**
 * Text from elsewhere as a terminal may show it: without escape sequences, by which a node's output could write the
 * window's title, move the cursor or fake other lines.
 */
export function safeText(text: string): string {
  return stripVTControlCharacters(text).replaceAll("\r\n", "\n").replaceAll(controls, "")
}

/** As `safeText`, and in one line. */
export function safeLine(text: string): string {
  return safeText(text).replaceAll(/[\n\t]+/g, " ")
}
