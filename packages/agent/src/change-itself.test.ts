import { chmod, mkdir, mkdtemp, rm, stat, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { changeItself } from "./change-itself.ts"
import { metaOf } from "./saved-tree.ts"
import { setMeta } from "./restore-tree.ts"

let directory: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox itself "))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const modeOf = async (path: string) => (await stat(path)).mode & 0o7777

test("a link that took the place of a file gives away nothing of what it points at", async () => {
  const [target, name] = [join(directory, "shadow"), join(directory, "ours")]
  await writeFile(target, "", { mode: 0o600 })
  await symlink(target, name)
  await expect(setMeta(name, { ...metaOf(await stat(target)), mode: 0o666 })).rejects.toMatchObject({ code: "ELOOP" })
  await expect(changeItself(name, (itself) => itself.chmod(0o666))).rejects.toMatchObject({ code: "ELOOP" })
  expect(await modeOf(target)).toBe(0o600)
})

test("files and directories are changed, those closed to their owner too", async () => {
  const [file, folder] = [join(directory, "file"), join(directory, "folder")]
  await writeFile(file, "")
  await mkdir(folder)
  for (const path of [file, folder]) {
    await chmod(path, 0)
    await changeItself(path, (itself) => itself.chmod(0o750))
    expect(await modeOf(path)).toBe(0o750)
  }
})
