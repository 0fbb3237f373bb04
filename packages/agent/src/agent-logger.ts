/** Where the agent says what it does: the CLI gives its own, tests collect the lines. */
export interface AgentLogger {
  info(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
  error(message: string, fields?: Readonly<Record<string, unknown>>): void
}

export const silentLogger: AgentLogger = { info: () => undefined, warn: () => undefined, error: () => undefined }

/** An error's text with the texts of its causes. */
export function errorText(error: unknown): string {
  const parts: string[] = []
  for (let current = error, depth = 0; current !== undefined && depth < 4; depth++) {
    parts.push(current instanceof Error ? current.message : JSON.stringify(current))
    current = current instanceof Error ? current.cause : undefined
  }
  return parts.join(": ").slice(0, 1900)
}
