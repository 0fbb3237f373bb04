import { mkdir, open, readFile, stat } from "node:fs/promises"
import { dirname } from "node:path"
import { signVoteKeyClaim } from "@signalbox/attestation/member-vote"
import { findVoteKey, newVoteKeyPem, type VoteKey } from "@signalbox/attestation/vote-key"
import { voteKeysAdd } from "@signalbox/contracts/approvals/vote-keys"
import { authWhoami } from "@signalbox/contracts/identity/operations"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import type { Command } from "commander"
import { addCommand, type CommandContext, type CommandFrame, onRun, textOption } from "../command.ts"
import { showHeld } from "../output/show-held.ts"

export const signingOption = [
  "--sign-with <file>",
  "sign the vote with this key, which `approvals keygen` made [SIGNALBOX_VOTE_KEY]",
] as const

/** `signalbox approvals keygen`: the key with which a member signs votes. */
export function addKeygen(approvals: Command, frame: CommandFrame): void {
  const command = addCommand(approvals, "keygen <file>", "Make a key to sign votes with, and register it")
    .description(
      "Make a key to sign votes with, and register it.\n\nThe file has the private half, for its owner alone: nothing but this machine ever sees it. A file that is there is registered as it is.",
    )
    .option("--note <note>", "what the key is, for whoever reads the list")
    .option("--no-register", "only make the file and print its public half")
  onRun(command, frame, { run: keygen })
}

async function keygen(context: CommandContext): Promise<number | void> {
  const path = context.words[0] as string
  const isNew = await makeKeyFile(path)
  const key = await readVoteKey(path)
  const shown = { file: path, id: key.keyId, publicKey: key.publicKey }
  const made = isNew ? `${path} has a new key` : `${path} has a key already`
  if (context.options["register"] === false)
    return await context.show({ ...shown, registered: false }, () => `${made}\npublic key: ${key.publicKey}\n`)
  const client = await context.client()
  const { account, principal } = await client.call(authWhoami, {})
  const claim = signVoteKeyClaim(key, { account, principal, at: toInstant(Date.now()) })
  const note = textOption(context, "note")
  const reply = await client.call(voteKeysAdd, {
    ...{ publicKey: key.publicKey, proof: JSON.stringify(claim) },
    ...(note === undefined ? {} : { note }),
  })
  if (reply.status === "held") return await showHeld(context, reply.requestUrl)
  await context.show(
    { ...shown, registered: true },
    () => `${made}, registered for ${principal}\npublic key: ${key.publicKey}\n`,
  )
}

/** False where the file is there already. */
async function makeKeyFile(path: string): Promise<boolean> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    const file = await open(path, "wx", 0o600)
    try {
      await file.writeFile(newVoteKeyPem())
      await file.sync()
    } finally {
      await file.close()
    }
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") return false
    throw new AppError("cli.file-unreadable", `${path} can't be written: ${(cause as Error).message}`, { cause })
  }
}

/** The key in a file that only its owner may read. @throws cli.file-unreadable */
export async function readVoteKey(path: string): Promise<VoteKey> {
  const unreadable = (why: string, cause?: unknown): AppError =>
    new AppError("cli.file-unreadable", `the key ${path} ${why}`, { cause })
  const text = await readFile(path, "utf8").catch((cause: Error) => {
    throw unreadable(`can't be read: ${cause.message}`, cause)
  })
  if (((await stat(path)).mode & 0o077) !== 0) throw unreadable("is open to others: chmod 600")
  const key = findVoteKey(text)
  if (!key) throw unreadable("is no private key of Ed25519 in PEM")
  return key
}

/** The file that the caller signs with; undefined where votes are not signed. */
export function signingFileOf(context: CommandContext): string | undefined {
  return textOption(context, "signWith") ?? (context.io.environment["SIGNALBOX_VOTE_KEY"] || undefined)
}
