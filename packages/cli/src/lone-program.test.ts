import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { expect, test } from "vitest"

const run = promisify(execFile)

/** Which libraries a command line loads until its first call fails. */
async function librariesOf(words: readonly string[]): Promise<string[]> {
  const program = `
    import { registerHooks } from "node:module"
    const loaded = new Set()
    registerHooks({
      resolve: (specifier, context, next) => {
        const resolved = next(specifier, context)
        const [, library] = /node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(resolved.url) ?? []
        if (library) loaded.add(library)
        return resolved
      },
    })
    const { runCli } = await import(${JSON.stringify(new URL("run-cli.ts", import.meta.url).href)})
    const { PassThrough } = await import("node:stream")
    const streams = { stdout: new PassThrough(), stderr: new PassThrough(), stdin: new PassThrough() }
    const io = { ...streams, environment: {}, onInterrupt: () => () => {}, onStop: () => () => {} }
    const code = await runCli(${JSON.stringify(words)}, io, "0.0.0")
    console.log(JSON.stringify({ code, libraries: [...loaded] }))
    process.exit()
  `
  const { stdout } = await run(process.execPath, ["--conditions=source", "--input-type=module", "-e", program])
  const { code, libraries } = JSON.parse(stdout) as { code: number; libraries: string[] }
  expect(code).toBe(7)
  return libraries
}

test("exec loads what it needs: no schemas, no other HTTP client", async () => {
  const libraries = await librariesOf(["exec", "--all", "--server", "http://127.0.0.1:1", "--", "true"])
  expect(libraries).toEqual(["commander"])
}, 60_000)
