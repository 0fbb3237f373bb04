import { describe, expect, test } from "vitest"
import type { LockedPackage } from "../lockfile.ts"
import { findMissingPlatforms } from "../lockfile-platforms.ts"
import { memoryRepository } from "../planted-repository.fixture.ts"
import { findRecordProblems } from "./decision-records.ts"
import { findInstallScriptProblems, findLicenceProblems, findUnlockedDependencies } from "./dependencies.ts"
import { installScriptsNotNeeded, isLicenceAllowed } from "./dependency-policy.ts"
import { findAnchors, findBrokenLinks } from "./docs-links.ts"
import { findStaleFiles } from "./generated.ts"
import { findTidyProblems } from "./tidy.ts"

describe("docs links", () => {
  test("lets links to files, folders, headings and anchors pass, and what is in code", async () => {
    const repository = memoryRepository({
      "README.md":
        "[a](docs/a.md) [b](docs/a.md#what-it-does-1) [c](#top) ![p](docs/p.png) [x](https://x.test/y)\n# Top\n",
      "docs/a.md":
        '# What it *does*\n## What it does\n[up](../README.md#top) [here](.) [t](a.md#own)\n<a id="own"></a>\n`[no](x)`\n```\n[no](y)\n```\n',
      "docs/p.png": "",
    })
    expect(await findBrokenLinks(repository)).toEqual({ problems: [], linksCount: 7 })
  })

  test("finds a missing file, a missing heading and a missing picture", async () => {
    const repository = memoryRepository({
      "README.md": 'intro\n[a](docs/none.md)\n[b](docs/a.md#none)\n<img src="docs/none.svg">\n[r]: docs/gone.md\n',
      "docs/a.md": "# A\n",
    })
    expect((await findBrokenLinks(repository)).problems).toEqual([
      "README.md:2: no file docs/none.md",
      "README.md:3: no heading or anchor #none in docs/a.md",
      "README.md:4: no file docs/none.svg",
      "README.md:5: no file docs/gone.md",
    ])
  })

  test("names headings as GitHub does", () => {
    const anchors = findAnchors("# `signalbox exec`: one line\n## What's *new* in 1.0?\n### [Linked](x.md) text\n")
    expect([...anchors]).toEqual(["signalbox-exec-one-line", "whats-new-in-10", "linked-text"])
  })
})

describe("decision records", () => {
  test("pass with a number, a name and a gate that exists", async () => {
    const files = {
      "docs/adr/0001-one-thing.md": "# 1\n\nGate: `tools/a.ts` fails.\n",
      "tools/a.ts": "",
      "docs/adr/README.md": "",
    }
    expect(await findRecordProblems(memoryRepository(files))).toEqual({ problems: [], recordsCount: 1 })
  })

  test("are refused without a gate, with a gate that is gone, with a number twice or a name of another form", async () => {
    const files = {
      "docs/adr/0001-no-gate.md": "# 1\n",
      "docs/adr/0002-gate-gone.md": "**Gate:** `tools/gone.ts`\n",
      "docs/adr/0002-twice.md": "Gate: the type checker\n",
      "docs/adr/Notes.md": "Gate: none\n",
    }
    expect((await findRecordProblems(memoryRepository(files))).problems).toEqual([
      "docs/adr/0001-no-gate.md: has no `Gate:` line",
      "docs/adr/0002-gate-gone.md: its gate tools/gone.ts doesn't exist",
      "docs/adr/0002-twice.md: number 0002 is taken by docs/adr/0002-gate-gone.md",
      "docs/adr/Notes.md: a record is called NNNN-what-was-decided.md",
    ])
  })
})

describe("tidy", () => {
  test("finds empty names, notes to self, machine paths, tests left out and checks switched off", async () => {
    const word = (...parts: readonly string[]) => parts.join("")
    const problems = await findTidyProblems(
      memoryRepository({
        "packages/a/src/utils/x.ts": "",
        "packages/a/src/helpers.ts": "",
        "packages/a/src/note.ts": word("// TO", "DO later"),
        "docs/path.md": word("ok\nsee /ro", "ot/x/y"),
        "packages/a/src/left.test.ts": word("test.sk", 'ip("x", () => {})'),
        "packages/a/src/off.ts": word("// eslint-", "disable-next-line"),
        "packages/a/src/fine.ts": "// https://example.com/a/root/ and */root/run and src/root/common-ground.ts",
      }),
    )
    expect(problems.map((problem) => problem.replace(/: .*/, ""))).toEqual([
      "docs/path.md:2",
      "packages/a/src/helpers.ts",
      "packages/a/src/left.test.ts:1",
      "packages/a/src/note.ts:1",
      "packages/a/src/off.ts:1",
      "packages/a/src/utils/x.ts",
    ])
  })
})

describe("dependencies", () => {
  const locked = (name: string, change: Partial<LockedPackage> = {}): LockedPackage => {
    return { name, version: "1.0.0", licence: "MIT", production: true, hasInstallScript: false, ...change }
  }

  test("ship under an allowed licence only", () => {
    const packages = [
      locked("free"),
      locked("choice", { licence: "(GPL-3.0 OR MIT)" }),
      locked("both", { licence: "MIT AND GPL-3.0" }),
      locked("none", { licence: "unknown" }),
      locked("tool", { licence: "GPL-3.0", production: false }),
    ]
    expect(findLicenceProblems(packages)).toEqual([
      "both@1.0.0: licence MIT AND GPL-3.0 is not on the list",
      "none@1.0.0: licence unknown is not on the list",
    ])
    expect(isLicenceAllowed("GPL-3.0")).toBe(false)
  })

  test("with an install script need a reason, a reason needs its package, and no script is allowed to run", () => {
    const known = Object.keys(installScriptsNotNeeded)
    const packages = [...known.slice(1), "new"].map((name) => locked(name, { hasInstallScript: true }))
    const allowScripts = { ...Object.fromEntries(known.slice(0, -1).map((name) => [name, false])), esbuild: true }
    expect(findInstallScriptProblems(packages, allowScripts)).toEqual([
      "new: has an install script and no reason in dependency-policy.ts",
      `${known[0]}: has no install script (any more); take it out of dependency-policy.ts`,
      `package.json: allowScripts doesn't say false for ${known.at(-1)}`,
      "package.json: allowScripts lets esbuild run its script, but none may be needed",
    ])
  })

  test("are in the lockfile, the optional ones too", async () => {
    const repository = memoryRepository({
      "package-lock.json": JSON.stringify({ packages: { "node_modules/there": { version: "1.0.0" } } }),
      "packages/a/package.json": JSON.stringify({
        dependencies: { there: "1.0.0", "@signalbox/kernel": "0.1.0" },
        optionalDependencies: { gone: "2.0.0" },
      }),
    })
    expect(await findUnlockedDependencies(repository)).toEqual([
      "packages/a/package.json: gone@2.0.0 is not in the lockfile",
    ])
  })
})

describe("platforms that npm left out of the lockfile", () => {
  const entries = {
    "node_modules/tool": {
      dev: true,
      license: "MIT",
      optionalDependencies: {
        "tool-linux-x64-gnu": "1.0.0",
        "tool-win32-arm64-msvc": "1.0.0",
        "tool-linux-arm-musleabihf": "1.0.0",
      },
    },
    "node_modules/tool-linux-x64-gnu": { license: "ISC", engines: { node: ">=20" } },
  }

  test("are found, and written as their names and their neighbours say", () => {
    const known = { version: "1.0.0", dev: true, license: "ISC", optional: true, engines: { node: ">=20" } }
    expect(findMissingPlatforms(entries)).toEqual([
      { path: "node_modules/tool-win32-arm64-msvc", entry: { ...known, cpu: ["arm64"], os: ["win32"] } },
      {
        path: "node_modules/tool-linux-arm-musleabihf",
        entry: { ...known, cpu: ["arm"], os: ["linux"], libc: ["musl"] },
      },
    ])
  })

  test("are none once they are written", () => {
    const written = Object.fromEntries(findMissingPlatforms(entries).map(({ path, entry }) => [path, entry]))
    expect(findMissingPlatforms({ ...entries, ...written })).toEqual([])
  })
})

describe("generated files", () => {
  test("that differ or are missing are named with the first line that differs", async () => {
    const repository = memoryRepository({ "same.md": "a\nb\n", "old.md": "a\nb\n" })
    const generated = new Map([
      ["same.md", "a\nb\n"],
      ["old.md", "a\nc\n"],
      ["none.md", ""],
    ])
    expect(await findStaleFiles(repository, generated)).toEqual([
      "old.md:2: differs from its source; run `npm run generate`",
      "none.md: is missing; run `npm run generate`",
    ])
  })
})
