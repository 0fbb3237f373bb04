import { AppError } from "@signalbox/kernel/app-error"
import type { Io } from "../io.ts"

/** Asks for the key without showing it. @throws cli.usage where nobody can answer */
export async function askForKey(io: Io): Promise<string> {
  if (!canAsk(io)) throw new AppError("cli.usage", "give the API key with --key, --key-file or SIGNALBOX_KEY")
  const { isCancel, password } = await import("@clack/prompts")
  const answer = await password({ message: "API key (sbx_…)", input: io.stdin, output: io.stderr })
  if (isCancel(answer) || !answer) throw new AppError("cli.usage", "no key was given")
  return answer.trim()
}

/** Asks for a password without showing it. @throws cli.usage where nobody can answer */
export async function askForPassword(io: Io, message: string): Promise<string> {
  if (!canAsk(io)) throw new AppError("cli.usage", "give the password in a file; - is standard input")
  const { isCancel, password } = await import("@clack/prompts")
  const answer = await password({ message, input: io.stdin, output: io.stderr })
  if (isCancel(answer) || !answer) throw new AppError("cli.usage", "no password was given")
  return answer
}

/** Asks twice. @throws cli.usage where the answers differ, or nobody can answer */
export async function askForNewPassword(io: Io): Promise<string> {
  const first = await askForPassword(io, "New password")
  const second = await askForPassword(io, "The same again")
  if (first !== second) throw new AppError("cli.usage", "the two passwords differ")
  return first
}

/** Shows a fingerprint that nothing vouches for. @throws cli.certificate-untrusted unless somebody confirms it */
export async function askToTrust(
  io: Io,
  offer: { readonly server: string; readonly fingerprint: string },
): Promise<void> {
  const { server, fingerprint } = offer
  const untrusted = `nothing vouches for ${server}; its own CA has the fingerprint ${fingerprint}`
  if (!canAsk(io)) {
    throw new AppError(
      "cli.certificate-untrusted",
      `${untrusted}: compare it with the server's, then give --ca-fingerprint`,
    )
  }
  const { confirm } = await import("@clack/prompts")
  const question = { message: `${untrusted}\nIs this what the server shows at its start?`, initialValue: false }
  const answer = await confirm({ ...question, input: io.stdin, output: io.stderr })
  if (answer !== true) throw new AppError("cli.certificate-untrusted", `the CA of ${server} was not confirmed`)
}

function canAsk(io: Io): boolean {
  return io.stdin.isTTY === true && io.stderr.isTTY === true
}
