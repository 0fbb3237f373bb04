import { randomBytes } from "node:crypto"
import { readFile, stat } from "node:fs/promises"
import { join } from "node:path"
import { AppError } from "@signalbox/kernel/app-error"
import { writeNewFile } from "./write-new-file.ts"

export const masterKeyFile = "master.key"
const keyBytes = 32

/**
 * The master key of a data directory, or of a file that somebody else provides, which is never made here.
 *
 * @throws settings.invalid where the file is not such a key or others may read it
 */
export function masterKeyInFile(options: { readonly dataDirectory: string; readonly file?: string | undefined }): {
  readonly place: string
  read(): Promise<Buffer | undefined>
  create(): Promise<Buffer>
} {
  const path = options.file ?? join(options.dataDirectory, masterKeyFile)
  return {
    place: path,
    async read() {
      const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
        if (cause.code === "ENOENT" && options.file === undefined) return undefined
        throw new AppError(
          "settings.invalid",
          `the master key ${path} can't be read (${cause.code ?? cause.message})`,
          {
            cause,
          },
        )
      })
      if (text === undefined) return undefined
      if (((await stat(path)).mode & 0o007) !== 0)
        throw new AppError("settings.invalid", `everybody on this machine can open the master key ${path}: chmod 600`)
      const key = Buffer.from(text.trim(), "base64")
      if (key.length !== keyBytes || key.toString("base64") !== text.trim())
        throw new AppError("settings.invalid", `${path} is no master key: ${keyBytes} bytes in base64`)
      return key
    },
    async create() {
      const key = randomBytes(keyBytes)
      await writeNewFile(path, `${key.toString("base64")}\n`)
      return key
    },
  }
}
