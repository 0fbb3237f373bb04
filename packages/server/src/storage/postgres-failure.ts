import { AppError } from "@signalbox/kernel/app-error"
import type { ErrorCode } from "@signalbox/kernel/error-catalogue"

/** PostgreSQL runs with messages in English (LC_ALL=C), so its words are a stable sign. */
const signs: ReadonlyArray<readonly [RegExp, ErrorCode]> = [
  [/No space left on device|ENOSPC|Disk quota exceeded|EDQUOT/, "storage.disk-full"],
  [/lock file .* already exists|Is another postmaster/, "storage.data-directory-locked"],
  [/database files are incompatible with server|initialized by PostgreSQL version/, "storage.data-version-mismatch"],
]

/** The AppError for what PostgreSQL (or the file system below it) said when it failed. */
export function toPostgresFailure(
  doing: string,
  lines: readonly string[],
  options: { cause?: unknown } = {},
): AppError {
  const text = lines.join("\n")
  const code = signs.find(([sign]) => sign.test(text))?.[1] ?? "storage.data-directory-unusable"
  const told = lines.filter((line) => /error|fatal|panic|hint|detail|denied|E[A-Z]{3,}/i.test(line)).slice(-6)
  return new AppError(
    code,
    `${doing}: ${(told.length > 0 ? told : lines.slice(-3)).join(" | ") || "it ended without a word"}`,
    options,
  )
}
